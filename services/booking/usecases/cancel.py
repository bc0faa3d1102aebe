"""Cancelling: what it gives back, and doing it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.booking.domain import (
    EVERYTHING,
    Booking,
    BookingStateInvalid,
    Cancellation,
    Ending,
    Status,
    cancellation,
)
from services.booking.ports import Ports, Repeated, Stale
from services.booking.usecases.read import MANAGE, View, view, visible
from services.booking.usecases.saga import Saga, lease_from
from services.chassis.errors import DependencyUnavailable, EtagMismatch
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money
from services.chassis.principal import Principal

MAX_TRIES = 8  # against changes by others


@dataclass(frozen=True, slots=True)
class CancelBooking:
    """Which booking, why, and whether what the policy gives back is wanted."""

    booking_id: str
    words: str = ""
    refund_requested: bool = True
    etag: str = ""


@dataclass(frozen=True, slots=True)
class CancellationQuote:
    """What a cancellation would give back now."""

    cancellable: bool
    terms: Cancellation | None  # None before the booking has a price


async def cancellation_quote(ports: Ports, caller: Principal, booking_id: str) -> CancellationQuote:
    """What a cancellation by this caller would give back now; nothing changes."""
    booking = await visible(ports, caller, booking_id)
    now = ports.clock.now()
    if not _cancellable(booking, now):
        return CancellationQuote(False, None)
    return CancellationQuote(True, _terms(caller, booking, now))


async def cancel_booking(ports: Ports, caller: Principal, command: CancelBooking, key: IdempotencyKey | None) -> View:
    """Cancel: the units are free and the money is on its way back, or soon will be."""
    for _ in range(MAX_TRIES):
        booking = await visible(ports, caller, command.booking_id)
        try:
            cancelled = await ports.bookings.save(booking, _cancelled(ports, caller, booking, command), key=key)
        except Stale:
            continue
        except Repeated:
            return await view(ports, caller, await visible(ports, caller, command.booking_id))
        except (BookingStateInvalid, EtagMismatch):
            # Perhaps it is this very call that made it so.
            if key is not None and await ports.bookings.first_use(key) is not None:
                return await view(ports, caller, booking)
            raise
        saga = Saga(ports, cancelled)
        await saga.run_or_leave()
        return await view(ports, caller, saga.booking)
    raise DependencyUnavailable("The booking changes too fast.")


def _cancelled(ports: Ports, caller: Principal, booking: Booking, command: CancelBooking) -> Booking:
    now = ports.clock.now()
    if command.etag and command.etag != booking.etag:
        raise EtagMismatch
    if not _cancellable(booking, now):
        raise BookingStateInvalid(status=booking.status)
    role = _role(caller, booking)
    if role == "ADMIN":
        # Who only reads all bookings cancels none.
        caller.require(MANAGE)
    ending = Ending(Status.CANCELLED, caller.subject, f"CANCELLED_BY_{role}")
    terms = _terms(caller, booking, now)
    refund = terms.refund if terms is not None and command.refund_requested else None
    return booking.cancelled(ending, command.words, refund, now, lease_from(ports, now))


def _cancellable(booking: Booking, now: datetime) -> bool:
    if booking.status is Status.PENDING:
        return booking.ending is None or booking.ending.status is not Status.FAILED
    return booking.status is Status.CONFIRMED and now < max(item.finish_time for item in booking.items)


def _terms(caller: Principal, booking: Booking, now: datetime) -> Cancellation | None:
    """What is given back; None before the booking has a price."""
    if booking.total is None:
        return None
    if booking.status is Status.PENDING:
        nothing = Money.zero(booking.total.currency)
        return Cancellation(nothing, nothing, EVERYTHING, None)
    # Whoever cannot cancel is shown what the customer would get.
    in_full = not caller.is_user(booking.user_id) and caller.may(MANAGE)
    return cancellation(booking.items, now, in_full=in_full)


def _role(caller: Principal, booking: Booking) -> Literal["CUSTOMER", "VENDOR", "ADMIN"]:
    if caller.is_user(booking.user_id):
        return "CUSTOMER"
    return "VENDOR" if caller.works_for(booking.vendor_id) else "ADMIN"
