"""Creating a booking: claim, keep, charge, sell - or wait, or undo."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from services.booking.domain import (
    Booking,
    Failure,
    Guest,
    Order,
    Status,
    Step,
    new_booking,
    refusal_of,
)
from services.booking.ports import Ports, Stale
from services.booking.usecases.read import View, view
from services.booking.usecases.saga import Saga, backoff, lease_from
from services.chassis.crash import crash_point
from services.chassis.errors import DependencyUnavailable, IdempotencyInProgress, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal

FIRST_PAUSE_SECONDS = 0.02  # between looks at a call that still runs
MAX_PAUSE_SECONDS = 0.5
ANSWER_SECONDS = 0.3  # left for the answer when the waiting is given up
RETRY_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class CreateBooking:
    """What is to be booked, for whom, and how it is paid."""

    order: Order
    guest: Guest = field(repr=False)
    payment_method: str
    payment_token: str = field(default="", repr=False)


async def create_booking(ports: Ports, caller: Principal, command: CreateBooking, key: IdempotencyKey | None) -> View:
    """Book: CONFIRMED when a token paid it at once, else PENDING with what the client needs to pay."""
    async with ports.door.passage():
        now = ports.clock.now()
        booking = new_booking(
            tenant_id=caller.tenant_id,
            user_id=caller.subject,
            order=command.order,
            guest=command.guest,
            payment_method=command.payment_method,
            payment_token=command.payment_token,
            now=now,
            payment_window=ports.times.payment_window,
            lease=lease_from(ports, now),
        )
        first_id = await ports.bookings.add(booking, key)
        if first_id == booking.booking_id:
            crash_point("booking.after_claim")
            return await _carry_on(ports, caller, booking)
    return await _again(ports, caller, first_id)


async def _carry_on(ports: Ports, caller: Principal, booking: Booking) -> View:
    saga = Saga(ports, booking)
    await saga.run_or_leave()
    if saga.outage is not None and saga.booking.step is Step.HOLD and not (saga.charging or booking.resumed):
        # Nothing was charged and perhaps nothing kept: the caller is told that it failed, so it must have.
        now = ports.clock.now()
        failure = Failure(DependencyUnavailable.reason)
        with suppress(Stale):
            await saga.save(saga.booking.undoing(failure, now, now + backoff(0), step=Step.RELEASE))
        raise saga.outage
    # Whatever is still to do goes on by itself: the caller is told where it stands.
    return await _answer(ports, caller, saga.booking, saga.client_secret)


async def _again(ports: Ports, caller: Principal, booking_id: str) -> View:
    """The same call came again: answer what the first one made, once that stands still; resume it when nobody does."""
    pause = FIRST_PAUSE_SECONDS
    while True:
        booking = await ports.bookings.get(caller.tenant_id, booking_id)
        if booking is None:
            raise NotFound(resource="booking")
        if not _running(booking):
            return await _answer(ports, caller, booking, "")
        now = ports.clock.now()
        taken = await ports.bookings.take_over(booking, now, lease_from(ports, now))
        if taken is not None:
            return await _carry_on(ports, caller, taken)
        remaining = ports.patience.remaining()
        if remaining is not None and remaining < pause + ANSWER_SECONDS:
            raise IdempotencyInProgress(retry_after=RETRY_AFTER)
        await ports.patience.pause(pause)
        pause = min(pause * 2, MAX_PAUSE_SECONDS)


def _running(booking: Booking) -> bool:
    return booking.status is Status.PENDING and booking.moving and not _undone(booking)


def _undone(booking: Booking) -> bool:
    return booking.status is Status.FAILED or (booking.ending is not None and booking.ending.status is Status.FAILED)


async def _answer(ports: Ports, caller: Principal, booking: Booking, client_secret: str) -> View:
    if _undone(booking) and booking.failure is not None:
        raise refusal_of(booking.failure.reason, booking.failure.details)
    if client_secret:
        return View(booking, shows_guest=True, client_secret=client_secret)
    return await view(ports, caller, booking)
