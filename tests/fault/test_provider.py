"""The payment provider at its worst: calls that end anyhow, webhooks in every order; one charge and one final state."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest

from tests.fault.client import new_key
from tests.fault.figures import exactly, judge, seconds
from tests.fault.world import World

SETTLED_SECONDS = 60.0
COPIES = 50
FAILED, PAID = "payment_intent.payment_failed", "payment_intent.succeeded"


@pytest.mark.parametrize(
    ("mode", "details"),
    [
        ("timeout", {"seconds": 20}),
        ("drop_after", {}),
        ("drop", {}),
        ("saved_500", {}),
        ("error_500", {"times": 2}),
        ("conflict_409", {"times": 2}),
        ("rate_limit_429", {"times": 2}),
    ],
)
async def test_a_call_that_goes_wrong_charges_once(world: World, mode: str, details: dict[str, Any]) -> None:
    await world.fault(mode, "payment_intents.create", **details)
    began = time.monotonic()
    body, key = await world.one_night(), new_key()
    reply = await world.customer.book_surely(body, key)
    assert reply.ok, reply
    booking_id = reply.body["bookingId"]

    async def needs_its_payer() -> bool:
        shown = (await world.customer.booking(booking_id)).body
        return bool({"CONFIRMED", "REQUIRES_PAYMENT_METHOD"} & {shown["status"], shown["payment"]["status"]})

    # A start whose outcome nobody knows is settled by the reconciler: paid, or to be paid by its payer.
    await world.until(needs_its_payer, 90)
    shown = (await world.customer.booking(booking_id)).body
    if shown["status"] != "CONFIRMED":
        path = f"/api/v1/bookings/{booking_id}/payment-attempts"
        await world.customer.insist("POST", path, {"paymentDetails": {"token": "pm_card_visa"}}, key=new_key())
    await world.until_status(booking_id, "CONFIRMED", limit=90)
    settled = time.monotonic() - began
    judge(
        f"provider: {mode} on create",
        "I3 I10 no double charge",
        seconds("confirmed after", settled, most=SETTLED_SECONDS),
        exactly("charges", len(await world.charges(booking_id)), 1),
    )


async def test_a_refund_whose_answer_is_lost_is_given_once(world: World) -> None:
    reply = await world.customer.book_surely(await world.one_night(), new_key())
    assert reply.ok, reply
    booking_id = reply.body["bookingId"]
    await world.fault("drop_after", "refunds.create", times=3)
    began = time.monotonic()
    cancelled = await world.customer.cancel(booking_id, new_key())
    assert cancelled.ok, cancelled

    async def given() -> bool:
        return (await world.customer.booking(booking_id)).body.get("refundStatus") == "SUCCEEDED"

    await world.until(given, 90)
    charge = (await world.charges(booking_id))[0]
    judge(
        "provider: answers to a refund lost",
        "I2 I10 one refund",
        seconds("refunded after", time.monotonic() - began, most=SETTLED_SECONDS),
        exactly("minor units given back of 10000", charge["amount_refunded"], 10_000),
    )


async def test_a_declined_card_can_be_followed_by_a_good_one(world: World) -> None:
    reply = await world.customer.book_surely(await world.one_night(token="pm_card_chargeDeclined"), new_key())
    assert reply.ok, reply
    assert reply.body["status"] == "PENDING"
    assert reply.body["payment"]["status"] == "REQUIRES_PAYMENT_METHOD"
    booking_id = reply.body["bookingId"]
    path = f"/api/v1/bookings/{booking_id}/payment-attempts"
    paid = await world.customer.insist("POST", path, {"paymentDetails": {"token": "pm_card_visa"}}, key=new_key())
    assert paid.ok, paid
    confirmed = await world.until_status(booking_id, "CONFIRMED")
    judge(
        "provider: card declined, another tried",
        "decline is not failure",
        seconds("confirmed after", confirmed, most=10.0),
        exactly("charges", len(await world.charges(booking_id)), 1),
        exactly("intents", len(await world.intents(booking_id)), 1),
    )


async def test_three_d_secure_is_pending_until_the_bank_says_yes(world: World) -> None:
    reply = await world.customer.book_surely(await world.one_night(token="pm_card_threeDSecure2Required"), new_key())
    assert reply.ok, reply
    assert (reply.body["status"], reply.body["payment"]["status"]) == ("PENDING", "REQUIRES_ACTION")
    booking_id = reply.body["bookingId"]
    intent = (await world.intents(booking_id))[0]["id"]
    await world.provider("POST", f"/_double/3ds/{intent}?outcome=complete")
    confirmed = await world.until_status(booking_id, "CONFIRMED")
    judge(
        "provider: 3-D Secure",
        "PENDING, then settled",
        seconds("confirmed after", confirmed, most=10.0),
        exactly("charges", len(await world.charges(booking_id)), 1),
    )


async def _events_of(world: World, intent: str) -> dict[str, str]:
    listed = await world.provider("GET", "/v1/events?limit=100")
    return {event["type"]: event["id"] for event in listed["data"] if event["data"]["object"]["id"] == intent}


async def _final(world: World, booking_id: str) -> tuple[object, ...]:
    """Where a booking and its money stand: what must not depend on the order of the news."""
    stands = world.rows(
        "payment",
        """SELECT p.status, p.captured_minor, (SELECT count(*) FROM journal_entries j
        WHERE j.payment_id = p.payment_id AND j.kind = 'CAPTURE') AS captures
        FROM payments p WHERE p.booking_id = %(booking)s""",
        booking=booking_id,
    )
    shown = (await world.customer.booking(booking_id)).body
    return (shown["status"], shown["payment"]["status"], *(tuple(row.values()) for row in stands))


async def _paid_after_a_decline(world: World, body: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """A booking that its payer paid at the second try, while no webhook arrives; and the events of that."""
    booked = await world.customer.book_surely(body, new_key())
    assert booked.ok, booked
    secret = booked.body["payment"]["clientSecret"]
    await world.pay(secret, "pm_card_chargeDeclined")
    await world.pay(secret)
    return booked.body["bookingId"], await _events_of(world, secret.partition("_secret_")[0])


async def test_webhooks_fifty_times_in_every_order(world: World) -> None:
    await world.fault("lose", target="webhooks", times=1000)
    body = await world.one_night(capacity=6, token="")
    kinds = ("payment_intent.created", FAILED, PAID)

    async def told(order: Sequence[str]) -> tuple[object, ...]:
        booking_id, events = await _paid_after_a_decline(world, body)
        sent = [events[kind] for kind in order]
        answer = await world.provider("POST", "/_double/deliver", {"events": sent, "copies": COPIES})
        assert set(answer["statuses"]) == {200}, answer
        await world.until_status(booking_id, "CONFIRMED")
        return await _final(world, booking_id)

    finals = [await told(order) for order in itertools.permutations(kinds)]
    await world.drained()
    judge(
        f"webhooks × {COPIES} in {len(finals)} orders",
        "one final state",
        exactly("distinct finals", len(set(finals)), 1),
        exactly("not CONFIRMED", sum(final[0] != "CONFIRMED" for final in finals), 0),
    )


async def test_forged_and_stale_webhooks_change_nothing(world: World) -> None:
    await world.fault("lose", target="webhooks", times=1000)
    booked = await world.customer.book_surely(await world.one_night(token=""), new_key())
    assert booked.ok, booked
    booking_id = booked.body["bookingId"]
    events = await _events_of(world, booked.body["payment"]["clientSecret"].partition("_secret_")[0])
    created = events["payment_intent.created"]
    statuses: list[int] = []
    for manner in ("forge", "stale"):
        order = {"events": [created], "copies": COPIES, "manner": manner}
        statuses += (await world.provider("POST", "/_double/deliver", order))["statuses"]
    await asyncio.sleep(1.0)
    final = await _final(world, booking_id)
    cancelled = await world.customer.cancel(booking_id, new_key())
    assert cancelled.ok, cancelled
    judge(
        f"webhooks forged and stale × {COPIES}",
        "nothing is believed",
        exactly("not refused with 401", sum(status != 401 for status in statuses), 0),
        exactly("still PENDING", final[:2] == ("PENDING", "REQUIRES_PAYMENT_METHOD"), 1),
    )


async def test_lost_webhooks_are_made_up_for_by_asking(world: World) -> None:
    await world.fault("lose", target="webhooks", times=1000)
    began = time.monotonic()
    booking_id, _ = await _paid_after_a_decline(world, await world.one_night(token=""))
    await world.until_status(booking_id, "CONFIRMED")
    judge(
        "webhooks lost",
        "asked by RPC",
        seconds("confirmed after", time.monotonic() - began, most=15.0),
        exactly("charges", len(await world.charges(booking_id)), 1),
    )


async def test_webhooks_that_come_before_our_commit(world: World) -> None:
    # The charge takes effect at once and its webhooks go out; our call is kept waiting meanwhile.
    await world.fault("timeout", "payment_intents.create", seconds=3)
    await world.fault("duplicate", target="webhooks", times=2, copies=COPIES)
    began = time.monotonic()
    booked = await world.customer.book_surely(await world.one_night(), new_key())
    assert booked.ok, booked
    booking_id = booked.body["bookingId"]
    await world.until_status(booking_id, "CONFIRMED")
    judge(
        f"webhooks × {COPIES} before our commit",
        "I10 one final state",
        seconds("confirmed after", time.monotonic() - began, most=SETTLED_SECONDS),
        exactly("charges", len(await world.charges(booking_id)), 1),
        exactly("captures booked", (await _final(world, booking_id))[2] == ("SUCCEEDED", 10_000, 1), 1),
    )
