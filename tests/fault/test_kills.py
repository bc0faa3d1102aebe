"""Processes killed between two steps, at their named points: resumed or undone, and nobody charged twice."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.fault.client import new_key
from tests.fault.figures import exactly, judge, seconds
from tests.fault.world import World

RESUMED_SECONDS = 30.0
SETTLED_SECONDS = 60.0


@pytest.mark.parametrize(
    "point", ["booking.after_claim", "booking.after_hold", "booking.after_payment", "booking.after_post"]
)
async def test_booking_killed_between_its_steps_goes_on(world: World, point: str) -> None:
    await world.restarted("booking", BERTH_CRASH_AT=point)
    body, key = await world.one_night(), new_key()
    first = await world.customer.book(body, key)
    killed = time.monotonic()
    assert not first.ok, f"booking was not killed: {first}"
    # Nobody asks again until it is done: the worker alone resumes it.
    await world.until(lambda: [row["status"] for row in world.bookings_of(body["resourceId"])] == ["CONFIRMED"], 45)
    resumed = time.monotonic() - killed
    again = await world.customer.book_surely(body, key)
    rows = world.bookings_of(body["resourceId"])
    booking_id = rows[0]["booking_id"]
    judge(
        f"kill -9 at {point}",
        "I3 I9 resumed",
        seconds("confirmed after", resumed, most=RESUMED_SECONDS),
        exactly("bookings", len(rows), 1),
        exactly("intents", len(await world.intents(booking_id)), 1),
        exactly("charges", len(await world.charges(booking_id)), 1),
    )
    assert again.ok, again
    assert again.body["bookingId"] == booking_id


async def test_booking_killed_after_its_refund_gives_it_once(world: World) -> None:
    body = await world.one_night()
    booked = await world.customer.book(body, new_key())
    assert booked.body["status"] == "CONFIRMED"
    booking_id = booked.body["bookingId"]
    await world.restarted("booking", BERTH_CRASH_AT="booking.after_refund")
    key = new_key()
    first = await world.customer.call("POST", f"/api/v1/bookings/{booking_id}/cancel", {"reason": "x"}, key=key)
    killed = time.monotonic()
    assert not first.ok, f"booking was not killed: {first}"
    await world.until(lambda: world.bookings_of(body["resourceId"])[0]["refund_status"] == "SUCCEEDED", 45)
    resumed = time.monotonic() - killed
    again = await world.customer.cancel(booking_id, key)
    charge = (await world.charges(booking_id))[0]
    judge(
        "kill -9 at booking.after_refund",
        "I2 one refund",
        seconds("refunded after", resumed, most=RESUMED_SECONDS),
        exactly("minor units given back of 10000", charge["amount_refunded"], 10_000),
    )
    assert again.ok, again
    assert again.body["status"] == "CANCELLED"


@pytest.mark.parametrize("point", ["payment.after_charge", "payment.after_commit"])
async def test_payment_killed_around_its_commit_charges_once(world: World, point: str) -> None:
    payment = await world.restarted("payment", BERTH_CRASH_AT=point)
    body, key = await world.one_night(), new_key()
    began = time.monotonic()
    first = await world.customer.book_surely(body, key)
    assert first.ok, first
    booking_id = first.body["bookingId"]
    await world.until_status(booking_id, "CONFIRMED", limit=75)
    settled = time.monotonic() - began
    await asyncio.to_thread(world.mesh.part("payment").wait_for_another, payment)
    judge(
        f"kill -9 at {point}",
        "I3 I10",
        seconds("confirmed after", settled, most=SETTLED_SECONDS),
        exactly("intents", len(await world.intents(booking_id)), 1),
        exactly("charges", len(await world.charges(booking_id)), 1),
    )


@pytest.mark.parametrize(
    ("service", "point"),
    [
        ("booking", "relay.after_ack"),
        ("payment", "relay.after_ack"),
        ("booking", "consumer.after_commit"),
        ("notification", "consumer.after_commit"),
    ],
)
async def test_an_event_that_comes_twice_takes_effect_once(world: World, service: str, point: str) -> None:
    part = world.mesh.part(service)
    await asyncio.to_thread(part.restart, {"BERTH_CRASH_AT": point})
    pid = part.pid
    body = await world.one_night()
    reply = await world.customer.book_surely(body, new_key())
    began = time.monotonic()
    assert reply.ok, reply
    booking_id = reply.body["bookingId"]
    await asyncio.to_thread(part.wait_for_another, pid)  # or the point was never reached
    await world.until_status(booking_id, "CONFIRMED")
    drained = await world.drained()
    settled = time.monotonic() - began
    told = world.rows("notification", "SELECT kind FROM deliveries WHERE booking_id = %(booking)s", booking=booking_id)
    history = world.rows(
        "booking", "SELECT to_status FROM booking_history WHERE booking_id = %(booking)s", booking=booking_id
    )
    judge(
        f"kill -9 {service} at {point}",
        "I5 I6 I7 I12",
        exactly("confirmations told", [row["kind"] for row in told].count("booking_confirmed"), 1),
        exactly("transitions", len(history), 2),
        seconds("drained after", settled, most=SETTLED_SECONDS),
    )
    assert drained < SETTLED_SECONDS


async def test_a_mail_accepted_before_the_kill_keeps_its_message_id(world: World) -> None:
    part = world.mesh.part("notification")
    await asyncio.to_thread(part.restart, {"BERTH_CRASH_AT": "notification.after_accept"})
    pid = part.pid
    reply = await world.customer.book_surely(await world.one_night(), new_key())
    assert reply.ok, reply
    code = reply.body["confirmationCode"]
    await asyncio.to_thread(part.wait_for_another, pid)
    settled = await world.drained()
    async with world.http.get(f"{world.mesh.mail_url}/messages") as answer:
        caught = [mail for mail in await answer.json() if code in mail["text"]]
    judge(
        "kill -9 at notification.after_accept",
        "I12 one message",
        exactly("distinct Message-IDs", len({mail["headers"]["Message-ID"] for mail in caught}), 1),
        seconds("settled after", settled, most=SETTLED_SECONDS),
    )
