"""Webhooks in any order, any number of times, early, late, forged: one final state."""

from datetime import timedelta
from itertools import permutations

import pytest
from google.api.httpbody_pb2 import HttpBody

from services.chassis.money import Money
from services.chassis.rpc.context import background
from services.payment.domain.payments import Payment, SignatureInvalid, Status
from services.payment.rpc import SIGNATURE, WebhookRpc
from services.payment.usecases.charging import StartPayment, start_payment
from services.payment.usecases.hearing import apply_event, keep_event
from tests.ports.payment.fakes import BOOKING_SERVICE, USER, VENDOR, World, booking_id, new_world

TYPES = (
    "payment_intent.created",
    "payment_intent.requires_action",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
)


async def start(world: World, token: str) -> Payment:
    command = StartPayment(booking_id(), "book", Money("EUR", 15000), USER, VENDOR, token)
    payment = (await start_payment(world.ports, BOOKING_SERVICE, command)).payment
    assert payment is not None
    return payment


async def apply_all(world: World) -> None:
    for event in await world.events.lease(world.clock.now(), 100):
        await apply_event(world.ports, event)


@pytest.mark.parametrize("order", list(permutations(TYPES)))
async def test_every_order_ends_in_the_same_state(order: tuple[str, ...]) -> None:
    world = new_world()
    payment = await start(world, "pm_3ds")
    world.provider.authenticate(payment)
    for event_type in order * 2:
        payload = f"evt_{event_type} {event_type} {payment.provider_intent_id} {payment.payment_id}"
        await keep_event(world.ports, payload.encode(), "signed")
        await apply_all(world)
    (stored,) = world.payments.rows.values()
    assert (stored.status, stored.version) == (Status.SUCCEEDED, 3)
    assert [type(fact).__name__ for fact in world.payments.facts] == ["PaymentSucceeded"]
    assert len(world.payments.entries) == 2
    assert {state for _, state in world.events.rows.values()} == {"APPLIED"}


async def test_an_event_before_our_commit_heals_the_payment(world: World) -> None:
    world.provider.faults.append("lost")
    payment = await start(world, "pm_visa")
    assert payment.provider_intent_id is None
    await keep_event(world.ports, f"evt_1 payment_intent.succeeded pi_0 {payment.payment_id}".encode(), "signed")
    await apply_all(world)
    (stored,) = world.payments.rows.values()
    assert (stored.status, stored.provider_intent_id) == (Status.SUCCEEDED, "pi_0")


async def test_an_event_of_a_payment_we_do_not_know_waits(world: World) -> None:
    about_nobody = (world.ports, b"evt_1 payment_intent.succeeded pi_9 pay_9", "signed")
    assert await keep_event(*about_nobody), "it is looked at now"
    assert not await keep_event(*about_nobody), "and not again because it is told again"
    await apply_all(world)
    assert [state for _, state in world.events.rows.values()] == ["WAITING"]


async def test_unknown_types_are_kept_and_forged_ones_refused(world: World) -> None:
    assert not await keep_event(world.ports, b"evt_1 martian.landed mar_1 -", "signed")
    assert not await keep_event(world.ports, b"evt_1 martian.landed mar_1 -", "signed")
    assert [state for _, state in world.events.rows.values()] == ["KEPT"]
    with pytest.raises(SignatureInvalid):
        await keep_event(world.ports, b"evt_2 payment_intent.succeeded pi_0 pay_0", "forged")
    assert len(world.events.rows) == 1


async def test_only_what_is_to_be_applied_now_wakes_the_worker(world: World) -> None:
    woken: list[str] = []
    webhooks = WebhookRpc(world.ports, lambda: woken.append("woken"))

    async def hear(payload: bytes) -> int:
        with background("webhook", tenant_id="") as call:
            call.metadata = {SIGNATURE: "signed"}
            await webhooks.HandleStripe(HttpBody(data=payload), None)
        return len(woken)

    assert await hear(b"evt_1 martian.landed mar_1 -") == 0
    assert await hear(b"evt_2 payment_intent.succeeded pi_9 pay_9") == 1
    assert await hear(b"evt_2 payment_intent.succeeded pi_9 pay_9") == 1


@pytest.mark.parametrize(("due_after", "at_once"), [(0.001, True), (2.0, False)], ids=["with a later one", "in time"])
async def test_an_event_is_due_as_the_store_says(
    world: World, monkeypatch: pytest.MonkeyPatch, due_after: float, *, at_once: bool
) -> None:
    began = world.clock.now()

    async def keep(*_: object, relevant: bool) -> object:
        world.clock.advance(timedelta(seconds=0.01))
        return began + timedelta(seconds=due_after) if relevant else None

    monkeypatch.setattr(world.events, "keep", keep)
    about = b"evt_1 payment_intent.succeeded pi_9 pay_9"
    assert await keep_event(world.ports, about, "signed") is at_once
