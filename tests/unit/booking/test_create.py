"""Creating: what is answered, what is kept, what is charged, when everything or nothing works."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from services.booking.domain import (
    BookingStateInvalid,
    Guest,
    Item,
    Order,
    PaymentStatus,
    PaymentTokenInvalid,
    SlotTaken,
    Status,
    Step,
)
from services.booking.usecases import AttemptPayment, CreateBooking, View, attempt_payment, get_booking
from services.chassis.errors import DependencyUnavailable, IdempotencyInProgress, IdempotencyKeyReused, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.chassis.waves import Waves
from tests.ports.booking.fakes import (
    DECLINES,
    NEEDS_ACTION,
    PAYS,
    PRICE,
    RESOURCE,
    START,
    TENANT,
    UNKNOWN,
    VENDOR,
    OpenDoor,
    World,
    new_world,
)
from tests.unit.booking.acting import CUSTOMER, GUEST, Killed, book, run_worker

STRANGER = Principal("user", TENANT, new_id("usr", at=START, shard=9))


def key(name: str = "a", body: bytes = b"body") -> IdempotencyKey:
    return IdempotencyKey(TENANT, CUSTOMER.subject, "/create", name, body)


async def test_a_token_that_pays_confirms_at_once() -> None:
    world = new_world()
    view = await book(world, PAYS)
    booking = view.booking
    assert (booking.status, booking.step, booking.total, booking.vendor_id) == (
        Status.CONFIRMED,
        Step.DONE,
        PRICE,
        VENDOR,
    )
    assert (booking.payment_status, view.client_secret, view.shows_guest) == (PaymentStatus.SUCCEEDED, "", True)
    assert (world.inventory.calls, world.payments.calls) == (["place", "post"], ["start"])
    assert shard_of(booking.booking_id) == shard_of(RESOURCE)
    assert not booking.payment_token


async def test_without_a_token_it_is_pending_with_a_client_secret() -> None:
    world = new_world()
    view = await book(world, "")
    assert (view.booking.status, view.booking.step) == (Status.PENDING, Step.AWAIT)
    assert view.client_secret
    assert view.booking.payment_due_time == START + timedelta(minutes=15)


@pytest.mark.parametrize(
    ("token", "status", "error"),
    [
        (DECLINES, PaymentStatus.REQUIRES_PAYMENT_METHOD, "card_declined"),
        (NEEDS_ACTION, PaymentStatus.REQUIRES_ACTION, ""),
    ],
)
async def test_a_decline_or_a_question_is_no_failure(token: str, status: PaymentStatus, error: str) -> None:
    view = await book(new_world(), token)
    assert (view.booking.status, view.booking.payment_status, view.booking.payment_error) == (
        Status.PENDING,
        status,
        error,
    )
    assert view.client_secret


async def test_units_that_are_taken_fail_the_booking_and_charge_nothing() -> None:
    world = new_world(capacity=0)
    with pytest.raises(SlotTaken) as refused:
        await book(world, PAYS, key())
    assert refused.value.metadata == {"resourceId": RESOURCE, "available": "0"}
    (booking,) = world.bookings.rows.values()
    assert (booking.status, booking.status_reason, world.payments.calls) == (Status.FAILED, "SLOT_TAKEN", [])
    # Nothing came about, so the key leads to another try.
    world.inventory.capacity = 1
    assert (await book(world, PAYS, key())).booking.status is Status.CONFIRMED


async def test_an_unknown_token_is_refused_and_everything_given_up() -> None:
    world = new_world(capacity=1)
    with pytest.raises(PaymentTokenInvalid):
        await book(world, UNKNOWN, key())
    (booking,) = world.bookings.rows.values()
    assert (booking.status, booking.status_reason) == (Status.FAILED, "PAYMENT_TOKEN_INVALID")
    assert world.inventory.used() == 0
    assert (await book(world, PAYS, key())).booking.status is Status.CONFIRMED


async def test_items_of_two_vendors_are_refused_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world()
    place = world.inventory.place

    async def two_vendors(*args: object) -> object:
        held = await place(*args)  # type: ignore[arg-type]  # passed through
        return replace(held, items=(held.items[0], replace(held.items[0], vendor_id=new_id("vnd", at=START))))

    monkeypatch.setattr(world.inventory, "place", two_vendors)
    with pytest.raises(Exception, match="book them apart"):
        await book(world, PAYS)
    assert (world.inventory.used(), world.payments.calls) == (0, [])


async def test_what_costs_nothing_needs_no_payment() -> None:
    world = new_world()
    world.inventory.price = Money.zero("EUR")
    booking = (await book(world, PAYS)).booking
    assert (booking.status, booking.status_reason, world.payments.calls) == (Status.CONFIRMED, "FREE_OF_CHARGE", [])


async def test_the_same_key_answers_the_same_booking() -> None:
    world = new_world()
    first = await book(world, PAYS, key())
    again = await book(world, PAYS, key())
    assert again.booking == first.booking
    assert world.payments.calls == ["start"]
    with pytest.raises(IdempotencyKeyReused):
        await book(world, PAYS, key(body=b"another"))


async def test_fifty_calls_with_one_key_book_once() -> None:
    world = new_world(turn=lambda: asyncio.sleep(0), seconds=None)
    views = await asyncio.gather(*(book(world, PAYS, key()) for _ in range(50)))
    assert len({view.booking.booking_id for view in views}) == 1
    assert {view.booking.status for view in views} == {Status.CONFIRMED}
    assert world.payments.calls.count("start") == 1


async def test_a_replay_of_a_pending_booking_reads_the_client_secret_again() -> None:
    world = new_world()
    first = await book(world, "", key())
    assert (await book(world, "", key())).client_secret == first.client_secret


async def test_a_replay_waits_for_a_call_that_runs_and_then_gives_up() -> None:
    world = new_world(seconds=3.0)
    world.inventory.trouble["place"] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS, key())
    with pytest.raises(IdempotencyInProgress) as refused:
        await book(world, PAYS, key())
    assert refused.value.retry_after == timedelta(seconds=1)


async def test_a_call_passes_the_door_and_whoever_repeats_it_waits_outside() -> None:
    door, inside = OpenDoor(), list[int]()

    async def look() -> None:
        inside.append(door.inside)

    world = new_world(turn=look, seconds=3.0, door=door)
    world.inventory.trouble["place"] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS, key())
    assert set(inside) == {1}
    inside.clear()
    with pytest.raises(IdempotencyInProgress):
        await book(world, PAYS, key())
    asked = inside.count(1)
    assert inside == [1] * asked + [0] * (len(inside) - asked)
    assert 0 < asked < len(inside)


async def test_who_comes_while_three_book_books_with_the_others() -> None:
    world = new_world(capacity=10, turn=lambda: asyncio.sleep(0), door=Waves())
    views = await asyncio.gather(*(book(world, PAYS) for _ in range(10)))
    assert {view.booking.status for view in views} == {Status.CONFIRMED}
    assert world.inventory.calls == ["place"] * 3 + ["post"] * 3 + ["place"] * 7 + ["post"] * 7


async def test_a_replay_resumes_what_stands_still() -> None:
    world = new_world()
    world.inventory.trouble["place"] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS, key())
    world.clock.advance(timedelta(seconds=15))
    assert (await book(world, PAYS, key())).booking.status is Status.CONFIRMED
    assert len(world.bookings.rows) == 1


async def test_an_inventory_that_is_out_undoes_the_booking() -> None:
    world = new_world()
    world.inventory.trouble["place"] = DependencyUnavailable("planted")
    with pytest.raises(DependencyUnavailable):
        await book(world, PAYS, key())
    world.clock.advance(timedelta(seconds=1))
    await run_worker(world)
    (booking,) = world.bookings.rows.values()
    assert (booking.status, booking.status_reason) == (Status.FAILED, "DEPENDENCY_UNAVAILABLE")
    assert world.inventory.calls == ["void"]
    assert (await book(world, PAYS, key())).booking.status is Status.CONFIRMED


async def test_a_payment_that_is_out_leaves_it_pending_and_the_worker_goes_on() -> None:
    world = new_world()
    world.payments.trouble["start"] = DependencyUnavailable("planted")
    view = await book(world, PAYS, key())
    assert (view.booking.status, view.booking.step, view.client_secret) == (Status.PENDING, Step.PAY, "")
    world.clock.advance(timedelta(seconds=1))
    await run_worker(world)
    assert (await get_booking(world.ports, CUSTOMER, view.booking.booking_id)).booking.status is Status.CONFIRMED


async def test_another_payment_method_confirms() -> None:
    world = new_world()
    booking_id = (await book(world, DECLINES)).booking.booking_id
    view = await attempt(world, booking_id, PAYS)
    assert (view.booking.status, view.booking.payment_error) == (Status.CONFIRMED, "")
    again = await attempt(world, booking_id, PAYS)
    assert again.booking.status is Status.CONFIRMED
    assert world.payments.calls.count("attempt") == 1


async def test_another_decline_stays_payable_and_the_same_attempt_is_not_tried_twice() -> None:
    world = new_world()
    booking_id = (await book(world, "")).booking.booking_id
    for _ in range(2):
        view = await attempt(world, booking_id, DECLINES)
        assert (view.booking.status, view.booking.payment_error) == (Status.PENDING, "card_declined")
        assert view.client_secret
    assert len(world.payments.intents[booking_id].attempts) == 1


@pytest.mark.parametrize("seconds", [0, 900])
async def test_an_attempt_needs_a_booking_that_waits_for_one(seconds: int) -> None:
    world = new_world()
    booking_id = (await book(world, PAYS if seconds == 0 else "")).booking.booking_id
    world.clock.advance(timedelta(seconds=seconds))
    with pytest.raises(BookingStateInvalid) as refused:
        await attempt(world, booking_id, PAYS)
    assert refused.value.metadata == {"status": "CONFIRMED" if seconds == 0 else "PENDING"}


async def test_only_the_payer_may_try() -> None:
    world = new_world()
    booking_id = (await book(world, "")).booking.booking_id
    staff = replace(STRANGER, vendor_ids=frozenset({VENDOR}), permissions=frozenset({"bookings.manage"}))
    for caller in (STRANGER, staff):
        with pytest.raises(NotFound):
            await attempt(world, booking_id, PAYS, caller)


async def attempt(world: World, booking_id: str, token: str, caller: Principal = CUSTOMER) -> View:
    named = IdempotencyKey(TENANT, caller.subject, "/attempt", f"{booking_id} {token}", b"")
    return await attempt_payment(world.ports, caller, AttemptPayment(booking_id, token), named)


def test_what_is_personal_or_secret_is_not_in_what_logs_may_show() -> None:
    command = CreateBooking(Order(items=(Item(RESOURCE),)), Guest("Cara", "C", "c@example.org"), "credit_card", "pm_1")
    assert "Cara" not in repr(command)
    assert "pm_1" not in repr(command)
    assert GUEST.email not in repr(AttemptPayment("bkg_1", GUEST.email))
