"""Cancelling: the tiers to the second, who gets what, and the same call twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.booking.domain import BookingStateInvalid, Item, Policy, RefundStatus, Status, Step, cancellation
from services.booking.usecases import (
    CancelBooking,
    booking_history,
    cancel_booking,
    cancellation_quote,
)
from services.chassis.errors import DependencyUnavailable, EtagMismatch, NotFound, PermissionDenied
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.chassis.principal import Principal
from tests.ports.booking.fakes import BEGIN, PAYS, PRICE, RESOURCE, START, TENANT, VENDOR, World, new_world, priced
from tests.unit.booking.acting import CUSTOMER, book, run_worker

MANAGES = frozenset({"bookings.manage"})
STAFF = Principal("user", TENANT, new_id("usr", at=START), permissions=MANAGES, vendor_ids=frozenset({VENDOR}))
ADMIN = Principal("user", TENANT, new_id("usr", at=START), permissions=MANAGES | {"bookings.read_all"})
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("policy", "notice", "basis_points", "next_change"),
    [
        (Policy.FLEXIBLE, DAY + SECOND, 10_000, DAY),
        (Policy.FLEXIBLE, DAY, 5_000, timedelta()),
        (Policy.FLEXIBLE, SECOND, 5_000, timedelta()),
        (Policy.FLEXIBLE, timedelta(), 0, None),
        (Policy.FLEXIBLE, -DAY, 0, None),
        (Policy.MODERATE, 5 * DAY + SECOND, 10_000, 5 * DAY),
        (Policy.MODERATE, 5 * DAY, 5_000, DAY),
        (Policy.MODERATE, DAY + SECOND, 5_000, DAY),
        (Policy.MODERATE, DAY, 0, None),
        (Policy.STRICT, 7 * DAY + SECOND, 5_000, 7 * DAY),
        (Policy.STRICT, 7 * DAY, 0, None),
    ],
)
def test_tiers(policy: Policy, notice: timedelta, basis_points: int, next_change: timedelta | None) -> None:
    sold = priced(Item(RESOURCE), Money("EUR", 10_000), policy)
    terms = cancellation([sold], BEGIN - notice)
    assert terms.basis_points == basis_points
    assert terms.refund.minor == basis_points
    assert terms.refund + terms.penalty == sold.total
    assert terms.next_change == (None if next_change is None else BEGIN - next_change)


@given(
    totals=st.lists(st.integers(0, 10**12), min_size=1, max_size=5),
    policy=st.sampled_from(Policy),
    hours=st.integers(-50, 300),
)
def test_a_refund_is_never_more_than_the_price_and_never_grows(totals: list[int], policy: Policy, hours: int) -> None:
    sold = [priced(Item(RESOURCE), Money("EUR", total), policy) for total in totals]
    at = BEGIN - timedelta(hours=hours)
    terms, after = cancellation(sold, at), cancellation(sold, at + timedelta(hours=1))
    assert 0 <= after.refund.minor <= terms.refund.minor <= sum(totals)
    assert terms.next_change is None or at < terms.next_change


def test_items_keep_their_own_policies() -> None:
    items = [
        priced(Item(RESOURCE), Money("EUR", 10_000), Policy.FLEXIBLE),
        priced(Item(RESOURCE), Money("EUR", 30_000), Policy.STRICT, BEGIN + 3 * DAY),
    ]
    terms = cancellation(items, BEGIN - 2 * DAY)
    assert (terms.refund.minor, terms.basis_points, terms.next_change) == (10_000, 2_500, BEGIN - DAY)


async def sold(world: World) -> str:
    return (await book(world, PAYS)).booking.booking_id


async def test_in_time_everything_goes_back() -> None:
    world = new_world()
    booking_id = await sold(world)
    quote = await cancellation_quote(world.ports, CUSTOMER, booking_id)
    assert quote.cancellable
    assert quote.terms is not None
    assert quote.terms.refund == PRICE
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id, "ill"), None)).booking
    assert (booking.status, booking.cancel_reason, booking.cancel_time) == (Status.CANCELLED, "ill", START)
    assert (booking.refund, booking.refund_status, booking.step) == (PRICE, RefundStatus.PENDING, Step.DONE)
    assert (world.inventory.used(), world.payments.kept(booking_id)) == (0, 0)
    last = (await booking_history(world.ports, CUSTOMER, booking_id))[-1]
    assert (last.actor, last.reason) == (CUSTOMER.subject, "CANCELLED_BY_CUSTOMER")
    assert world.bookings.facts[-1].booking.refund == PRICE


async def test_late_half_goes_back_rounded_in_the_persons_favour() -> None:
    world = new_world()
    booking_id = await sold(world)
    world.clock.advance(timedelta(days=29, hours=1))
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)).booking
    assert booking.refund == Money("EUR", 7_501)
    assert world.payments.kept(booking_id) == 7_500


@pytest.mark.parametrize(("caller", "reason"), [(STAFF, "CANCELLED_BY_VENDOR"), (ADMIN, "CANCELLED_BY_ADMIN")])
async def test_a_vendors_or_administrators_cancellation_gives_everything_back(caller: Principal, reason: str) -> None:
    world = new_world()
    booking_id = await sold(world)
    world.clock.advance(timedelta(days=30, hours=1))
    quote = await cancellation_quote(world.ports, caller, booking_id)
    assert quote.terms is not None
    assert (quote.terms.refund, quote.terms.next_change) == (PRICE, None)
    booking = (await cancel_booking(world.ports, caller, CancelBooking(booking_id), None)).booking
    assert (booking.refund, booking.status_reason) == (PRICE, reason)


async def test_a_refund_that_is_not_wanted_is_not_given() -> None:
    world = new_world()
    booking_id = await sold(world)
    command = CancelBooking(booking_id, refund_requested=False)
    booking = (await cancel_booking(world.ports, CUSTOMER, command, None)).booking
    assert (booking.refund, booking.refund_status, booking.step) == (None, None, Step.DONE)
    assert (world.payments.kept(booking_id), world.inventory.used()) == (PRICE.minor, 0)


async def test_a_pending_booking_is_cancelled_without_a_charge() -> None:
    world = new_world()
    booking_id = (await book(world, "")).booking.booking_id
    quote = await cancellation_quote(world.ports, CUSTOMER, booking_id)
    assert quote.terms is not None
    assert (quote.terms.refund.minor, quote.terms.penalty.minor) == (0, 0)
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)).booking
    assert (booking.status, booking.refund, booking.cancel_time) == (Status.CANCELLED, None, START)
    assert (world.payments.calls[-1], world.inventory.calls[-1], world.inventory.used()) == ("cancel", "void", 0)


async def test_a_pending_booking_that_turns_out_paid_is_cancelled_with_a_full_refund() -> None:
    world = new_world()
    booking_id = (await book(world, "")).booking.booking_id
    world.payments.pay(booking_id)
    command = CancelBooking(booking_id, refund_requested=False)
    booking = (await cancel_booking(world.ports, CUSTOMER, command, None)).booking
    assert (booking.status, booking.refund, world.payments.kept(booking_id)) == (Status.CANCELLED, PRICE, 0)


async def test_a_stale_etag_is_refused() -> None:
    world = new_world()
    booking_id = await sold(world)
    with pytest.raises(EtagMismatch):
        await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id, etag="v1"), None)
    current = world.bookings.rows[booking_id].etag
    cancelled = await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id, etag=current), None)
    assert cancelled.booking.status is Status.CANCELLED


async def test_the_same_key_cancels_once_and_answers_again() -> None:
    world = new_world()
    booking_id = await sold(world)
    key = IdempotencyKey(TENANT, CUSTOMER.subject, "/cancel", "a", b"")
    command = CancelBooking(booking_id, etag=world.bookings.rows[booking_id].etag)
    first = await cancel_booking(world.ports, CUSTOMER, command, key)
    again = await cancel_booking(world.ports, CUSTOMER, command, key)
    assert again.booking == first.booking
    assert world.payments.calls.count("refund") == 1
    with pytest.raises(BookingStateInvalid) as refused:
        await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)
    assert refused.value.metadata == {"status": "CANCELLED"}


async def test_what_is_over_is_not_cancelled() -> None:
    world = new_world()
    booking_id = await sold(world)
    world.clock.advance(timedelta(days=32))
    assert not (await cancellation_quote(world.ports, CUSTOMER, booking_id)).cancellable
    with pytest.raises(BookingStateInvalid):
        await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)


async def test_a_payment_that_is_out_does_not_keep_the_units() -> None:
    world = new_world()
    booking_id = await sold(world)
    world.payments.trouble["refund"] = DependencyUnavailable("planted")
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)).booking
    assert (booking.status, booking.step, world.inventory.used()) == (Status.CANCELLED, Step.REFUND, 0)
    assert booking.refund_status is RefundStatus.PENDING
    world.clock.advance(SECOND)
    await run_worker(world)
    assert world.payments.kept(booking_id) == 0


async def test_strangers_find_nothing_to_cancel() -> None:
    world = new_world()
    booking_id = await sold(world)
    stranger = Principal("user", TENANT, new_id("usr", at=START), permissions=MANAGES)
    elsewhere = replace(CUSTOMER, tenant_id=new_id("ten", at=START))
    for caller in (stranger, elsewhere, replace(STAFF, permissions=frozenset())):
        with pytest.raises(NotFound):
            await cancel_booking(world.ports, caller, CancelBooking(booking_id), None)
    support = replace(ADMIN, permissions=frozenset({"bookings.read_all"}))
    with pytest.raises(PermissionDenied):
        await cancel_booking(world.ports, support, CancelBooking(booking_id), None)
    world.clock.advance(timedelta(days=29, hours=1))
    quote = await cancellation_quote(world.ports, support, booking_id)
    assert quote.terms is not None
    assert quote.terms.basis_points == 5_000
