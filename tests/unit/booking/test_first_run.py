"""The first run stores nothing between keeping and selling: what others make of it where it dies, stalls or loses."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.booking import wire
from services.booking.domain import Booking, Charge, HoldEnded, Item, Order, PaymentStatus, Status, Step
from services.booking.ports import Mandate
from services.booking.usecases import CancelBooking, View, cancel_booking
from services.chassis.errors import DependencyUnavailable
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money
from tests.ports.booking.fakes import PAYS, PRICE, RESOURCE, TENANT, VENDOR, World, new_world
from tests.unit.booking.acting import CUSTOMER, Killed, book, run_worker

LEASE = timedelta(seconds=15)
HOLD = timedelta(minutes=17)


async def killed(world: World, before: str) -> Booking:
    """What is stored after a first run that was killed before such a call."""
    fake = world.payments if before == "start" else world.inventory
    fake.trouble[before] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS)
    (booking,) = world.bookings.rows.values()
    assert (booking.step, booking.total) == (Step.HOLD, None)
    return booking


async def works(world: World, after: timedelta) -> Booking:
    """The booking after the worker's run."""
    world.clock.advance(after)
    await run_worker(world)
    (booking,) = world.bookings.rows.values()
    return booking


@pytest.mark.parametrize("before", ["start", "post"])
async def test_a_run_that_died_is_gone_on_with(before: str) -> None:
    world = new_world(capacity=1)
    await killed(world, before)
    booking = await works(world, LEASE)
    assert (booking.status, booking.total, booking.vendor_id) == (Status.CONFIRMED, PRICE, VENDOR)
    assert [sold.item.resource_id for sold in booking.items] == [RESOURCE]
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (PRICE.minor, 1)


@pytest.mark.parametrize("found_after", [LEASE, HOLD])
async def test_a_death_after_the_sale_is_no_second_one(monkeypatch: pytest.MonkeyPatch, found_after: timedelta) -> None:
    async def dies(*_arguments: object) -> Booking:
        raise Killed

    world = new_world(capacity=1)
    with monkeypatch.context() as patched:
        patched.setattr(world.bookings, "save", dies)
        with pytest.raises(Killed):
            await book(world, PAYS)
    assert world.inventory.used() == 1
    booking = await works(world, found_after)
    assert (booking.status, booking.total, booking.vendor_id) == (Status.CONFIRMED, PRICE, VENDOR)
    assert (len(booking.items), world.inventory.used()) == (1, 1)
    assert world.payments.kept(booking.booking_id) == PRICE.minor


async def test_charged_and_found_past_the_holds_time_keeps_the_units_anew() -> None:
    world = new_world(capacity=1)
    await killed(world, "post")
    booking = await works(world, HOLD)
    assert (booking.status, booking.total, booking.vendor_id) == (Status.CONFIRMED, PRICE, VENDOR)
    assert len(booking.items) == 1
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (PRICE.minor, 1)


@pytest.mark.parametrize(("capacity", "price"), [(0, PRICE), (1, Money("EUR", 1))])
async def test_charged_and_gone_is_given_back(capacity: int, price: Money) -> None:
    world = new_world(capacity=1)
    await killed(world, "post")
    world.inventory.capacity, world.inventory.price = capacity, price
    booking = await works(world, HOLD)
    assert (booking.status, booking.status_reason, booking.refund) == (Status.EXPIRED, "UNITS_GONE", PRICE)
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (0, 0)


async def test_a_run_that_sells_while_another_gives_up_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world(capacity=1)
    stalled = await killed(world, "place")
    cancel = world.payments.cancel

    async def cancel_too_late(mandate: Mandate, reason: str) -> Charge:
        await world.inventory.place(mandate, "book", stalled.order, HOLD)
        await world.payments.start(mandate, VENDOR, PRICE, PAYS)
        await world.inventory.post(mandate, "book")
        return await cancel(mandate, reason)

    monkeypatch.setattr(world.payments, "cancel", cancel_too_late)
    booking = await works(world, HOLD)
    assert (booking.status, booking.total, booking.vendor_id) == (Status.CONFIRMED, PRICE, VENDOR)
    assert (len(booking.items), world.inventory.used()) == (1, 1)


async def test_refused_a_second_time_and_then_found_paid_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world(capacity=0)
    stalled = await killed(world, "place")
    cancel = world.payments.cancel

    async def cancel_too_late(mandate: Mandate, reason: str) -> Charge:
        world.inventory.capacity = 1
        await world.inventory.place(mandate, "book", stalled.order, HOLD)
        await world.payments.start(mandate, VENDOR, PRICE, PAYS)
        return await cancel(mandate, reason)

    monkeypatch.setattr(world.payments, "cancel", cancel_too_late)
    booking = await works(world, LEASE)
    assert (booking.status, booking.status_reason, booking.refund) == (Status.EXPIRED, "UNITS_GONE", PRICE)
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (0, 0)
    assert wire.booking(View(booking, shows_guest=False)).failure_reason == ""


@pytest.mark.parametrize("price", [PRICE, Money("EUR", 0)])
async def test_what_was_never_kept_ends_with_its_time(price: Money) -> None:
    world = new_world(capacity=1)
    world.inventory.price = price
    await killed(world, "place")
    # Whatever inventory would say by now, and however often it cannot.
    world.inventory.trouble["place"] = AssertionError("nobody asks")
    booking = await works(world, HOLD)
    assert (booking.status, booking.status_reason, world.inventory.used()) == (Status.EXPIRED, "NOT_PAID_IN_TIME", 0)


async def test_kept_and_never_charged_ends_with_its_time() -> None:
    world = new_world(capacity=1)
    await killed(world, "start")
    booking = await works(world, HOLD)
    assert (booking.status, booking.status_reason) == (Status.EXPIRED, "NOT_PAID_IN_TIME")
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (0, 0)


@pytest.mark.parametrize("before", ["start", "post"])
async def test_who_cancels_what_is_being_made_gets_all_back(before: str) -> None:
    world = new_world(capacity=1)
    booking = await killed(world, before)
    view = await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking.booking_id), None)
    assert view.booking.status is Status.CANCELLED
    assert view.booking.refund == (PRICE if before == "post" else None)
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (0, 0)


@pytest.mark.parametrize("given_up", ["refused", "cancelled"])
async def test_a_run_that_stalled_finds_both_doors_shut(given_up: str) -> None:
    world = new_world(capacity=1)
    booking = await killed(world, "place")
    if given_up == "refused":
        world.inventory.capacity = 0
        booking = await works(world, LEASE)
        assert (booking.status, booking.status_reason) == (Status.FAILED, "SLOT_TAKEN")
    else:
        await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking.booking_id), None)
    world.inventory.capacity = 1
    late = Mandate(TENANT, booking.booking_id, CUSTOMER.subject)
    with pytest.raises(HoldEnded):
        await world.inventory.place(late, "book", Order(items=(Item(RESOURCE),)), HOLD)
    assert (await world.payments.start(late, VENDOR, PRICE, PAYS)).status is PaymentStatus.CANCELLED
    assert (world.payments.kept(booking.booking_id), world.inventory.used()) == (0, 0)


async def test_a_sale_that_is_out_after_the_charge_is_made_up_for_soon() -> None:
    world = new_world()
    world.inventory.trouble["post"] = DependencyUnavailable("planted")
    view = await book(world, PAYS)
    assert (view.booking.status, view.booking.step, view.booking.total) == (Status.PENDING, Step.PAY, PRICE)
    booking = await works(world, timedelta(seconds=1))
    assert booking.status is Status.CONFIRMED
    assert world.payments.kept(booking.booking_id) == PRICE.minor


async def test_an_outage_does_not_fail_what_an_earlier_run_may_have_paid() -> None:
    world = new_world()
    key = IdempotencyKey(TENANT, CUSTOMER.subject, "/create", "a", b"body")
    world.inventory.trouble["post"] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS, key)
    world.clock.advance(LEASE)
    world.inventory.trouble["place"] = DependencyUnavailable("planted")
    assert (await book(world, PAYS, key)).booking.status is Status.PENDING
    assert (await works(world, timedelta(seconds=1))).status is Status.CONFIRMED
