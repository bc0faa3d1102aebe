"""The saga, race by race: who wins, who gets the money, and who says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from services.booking.domain import (
    Booking,
    Charge,
    PaymentStatus,
    Refund,
    RefundStatus,
    Status,
    Step,
)
from services.booking.ports import News
from services.booking.usecases import CancelBooking, cancel_booking, hear_payment
from services.chassis.errors import DependencyUnavailable
from services.chassis.money import Money
from tests.ports.booking.fakes import NEEDS_ACTION, PAYS, PRICE, TENANT, World, new_world
from tests.unit.booking.acting import CUSTOMER, Killed, book, run_worker

WINDOW = timedelta(minutes=15)
HOLD = timedelta(minutes=17)


async def pending(world: World, token: str = "") -> str:
    return (await book(world, token)).booking.booking_id


async def later(world: World, by: timedelta) -> None:
    world.clock.advance(by)
    await run_worker(world)


async def deliver(world: World, index: int = -1) -> None:
    booking_id, charge, news = world.payments.events[index]
    await hear_payment(world.ports, TENANT, booking_id, charge, news)


def now(world: World, booking_id: str) -> Booking:
    return world.bookings.rows[booking_id]


async def test_the_news_of_a_payment_confirms() -> None:
    world = new_world()
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    await deliver(world)
    assert (now(world, booking_id).step, len(world.wakes)) == (Step.POST, 1)
    await run_worker(world)
    confirmed = now(world, booking_id)
    assert confirmed.status is Status.CONFIRMED
    await deliver(world)
    assert now(world, booking_id) == confirmed


async def test_without_news_payment_is_asked_after_five_seconds() -> None:
    world = new_world()
    booking_id = await pending(world, NEEDS_ACTION)
    world.payments.pay(booking_id)
    await later(world, timedelta(seconds=4))
    assert now(world, booking_id).status is Status.PENDING
    await later(world, timedelta(seconds=1))
    assert now(world, booking_id).status is Status.CONFIRMED


async def test_an_unpaid_booking_is_asked_about_less_and_less_often_until_its_end() -> None:
    world = new_world()
    booking_id = await pending(world)
    for _ in range(899):
        await later(world, timedelta(seconds=1))
    assert now(world, booking_id).status is Status.PENDING
    assert 20 <= world.payments.calls.count("get") <= 40
    await later(world, timedelta(seconds=1))
    booking = now(world, booking_id)
    assert (booking.status, booking.status_reason, booking.step) == (Status.EXPIRED, "NOT_PAID_IN_TIME", Step.DONE)
    assert (world.inventory.used(), world.payments.calls[-1], world.inventory.calls[-1]) == (0, "cancel", "void")


async def test_paid_at_the_very_end_is_sold_after_all() -> None:
    world = new_world()
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    await later(world, WINDOW)
    assert world.payments.calls[-1] == "cancel"
    assert now(world, booking_id).status is Status.CONFIRMED


async def test_a_late_payment_gets_a_fresh_hold_for_the_same_units() -> None:
    world = new_world(capacity=1)
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    await later(world, HOLD)
    assert (now(world, booking_id).status, now(world, booking_id).hold_step) == (Status.CONFIRMED, "late")
    assert world.inventory.holds[booking_id, "late"].status == "POSTED"


@pytest.mark.parametrize("reason", ["taken", "dearer"])
async def test_a_late_payment_for_what_is_gone_is_given_back_in_full(reason: str) -> None:
    world = new_world(capacity=1)
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    world.clock.advance(HOLD)
    if reason == "taken":
        await book(world, PAYS)
    else:
        world.inventory.price = Money("EUR", PRICE.minor + 1)
    await run_worker(world)
    booking = now(world, booking_id)
    assert (booking.status, booking.status_reason, booking.refund) == (Status.EXPIRED, "UNITS_GONE", PRICE)
    assert (world.payments.kept(booking_id), list(world.payments.intents[booking_id].refunds)) == (0, ["late"])
    assert booking.refund_status is RefundStatus.PENDING
    world.payments.settle(booking_id)
    await deliver(world)
    assert now(world, booking_id).refund_status is RefundStatus.SUCCEEDED
    fact = world.bookings.facts[-1]
    assert (fact.kind, fact.booking.refund) == ("BookingExpired", PRICE)


@pytest.mark.parametrize("call", ["place", "post"])
async def test_killed_before_inventory_answers_it_is_resumed(call: str) -> None:
    world = new_world(capacity=1)
    world.inventory.trouble[call] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS)
    await later(world, timedelta(seconds=14))
    (booking,) = world.bookings.rows.values()
    assert booking.status is Status.PENDING
    await later(world, timedelta(seconds=1))
    assert now(world, booking.booking_id).status is Status.CONFIRMED
    assert world.inventory.used() == 1


async def test_killed_long_enough_nothing_is_begun_any_more() -> None:
    world = new_world()
    world.payments.trouble["start"] = Killed()
    with pytest.raises(Killed):
        await book(world, PAYS)
    await later(world, WINDOW)
    (booking,) = world.bookings.rows.values()
    assert (booking.status, world.payments.kept(booking.booking_id)) == (Status.EXPIRED, 0)


async def test_an_outage_is_met_with_patience() -> None:
    world = new_world()
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    await deliver(world)
    for _ in range(6):
        world.inventory.trouble["post"] = DependencyUnavailable("planted")
        await run_worker(world)
        assert now(world, booking_id).step is Step.POST
        await run_worker(world)  # it is not due
        world.clock.advance(timedelta(seconds=10))
    world.inventory.trouble.clear()
    await run_worker(world)
    assert now(world, booking_id).status is Status.CONFIRMED


async def test_older_news_do_not_turn_anything_back() -> None:
    world = new_world()
    booking_id = await pending(world)
    world.payments.pay(booking_id, "pm_declines")
    world.payments.pay(booking_id)
    await deliver(world, 1)
    await run_worker(world)
    await deliver(world, 0)
    booking = now(world, booking_id)
    assert (booking.status, booking.payment_status, booking.payment_error) == (
        Status.CONFIRMED,
        PaymentStatus.SUCCEEDED,
        "",
    )


async def test_news_of_a_decline_is_shown_and_the_waiting_goes_on() -> None:
    world = new_world()
    booking_id = await pending(world, NEEDS_ACTION)
    world.payments.pay(booking_id, "pm_declines")
    await deliver(world)
    booking = now(world, booking_id)
    assert (booking.step, booking.payment_error) == (Step.AWAIT, "card_declined")


async def test_a_payment_that_somebody_else_cancelled_ends_the_booking() -> None:
    world = new_world()
    booking_id = await pending(world)
    charge = Charge("pay_1", PaymentStatus.CANCELLED, 9)
    await hear_payment(world.ports, TENANT, booking_id, charge, News("evt_1", "t"))
    await run_worker(world)
    booking = now(world, booking_id)
    assert (booking.status, booking.status_reason, world.inventory.used()) == (Status.EXPIRED, "PAYMENT_CANCELLED", 0)


async def test_news_that_change_nothing_leave_nothing_behind() -> None:
    world = new_world()
    booking_id = await pending(world)
    before = now(world, booking_id)
    await hear_payment(
        world.ports, TENANT, "bkg_nobody", Charge("pay_1", PaymentStatus.SUCCEEDED, 9), News("evt_1", "t")
    )
    stale = Charge("pay_1", PaymentStatus.REQUIRES_PAYMENT_METHOD, 0)
    await hear_payment(world.ports, TENANT, booking_id, stale, News("evt_2", "t"))
    assert (world.bookings.taken, now(world, booking_id)) == (set(), before)


async def test_what_was_paid_after_its_end_is_given_back() -> None:
    world = new_world()
    booking_id = await pending(world)
    await later(world, WINDOW)
    intent = world.payments.intents[booking_id]
    # No provider should; if one does, it must not be ours to keep.
    intent.status, intent.captured, intent.version = PaymentStatus.SUCCEEDED, PRICE.minor, intent.version + 1
    charge = Charge(intent.payment_id, intent.status, intent.version)
    await hear_payment(world.ports, TENANT, booking_id, charge, News("evt_1", "t"))
    await run_worker(world)
    assert (now(world, booking_id).refund, world.payments.kept(booking_id)) == (PRICE, 0)


async def test_a_confirmation_that_loses_against_a_cancellation_refunds() -> None:
    world = new_world(capacity=1)
    booking_id = await pending(world)
    world.payments.pay(booking_id)
    await deliver(world)
    # The units are sold, but before that is stored the booking is cancelled.
    post = world.inventory.post

    class Slow:
        """An inventory whose answer comes after a cancellation."""

        async def post(self, *args: object) -> None:
            world.inventory.post = post  # type: ignore[method-assign]  # only once
            await post(*args)  # type: ignore[arg-type]  # passed through
            await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)

    world.inventory.post = Slow().post  # type: ignore[method-assign,assignment]  # between effect and answer there is no other way in
    await run_worker(world)
    booking = now(world, booking_id)
    assert (booking.status, booking.refund, world.payments.kept(booking_id)) == (Status.CANCELLED, PRICE, 0)
    assert world.inventory.used() == 0


async def test_a_refund_that_payment_refuses_is_an_operators() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    world.payments.refuses_refunds = True
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)).booking
    assert (booking.status, booking.step, booking.refund_status) == (Status.CANCELLED, Step.DONE, RefundStatus.FAILED)


async def test_another_refund_is_not_taken_for_ours() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    booking = (await cancel_booking(world.ports, CUSTOMER, CancelBooking(booking_id), None)).booking
    ours = next(iter(world.payments.intents[booking_id].refunds.values()))
    assert booking.refund_id == ours.refund_id
    other = Refund("rfd_other", ours.amount, RefundStatus.FAILED, ours.reason)
    settled = replace(ours, status=RefundStatus.SUCCEEDED)
    charge = Charge(booking.payment_id, PaymentStatus.SUCCEEDED, 99, refunds=(settled, other))
    assert booking.heard(charge, world.clock.now()).refund_status is RefundStatus.SUCCEEDED
