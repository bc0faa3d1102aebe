"""Another try to pay a booking whose payment waits for one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from services.booking.domain import Booking, BookingStateInvalid, PaymentStatus, Status, Step
from services.booking.ports import Ports, Repeated, Stale
from services.booking.usecases.read import View, view, visible
from services.booking.usecases.saga import Saga, lease_from
from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal

MAX_TRIES = 8  # against changes by others
_OPEN = frozenset({PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_ACTION})


@dataclass(frozen=True, slots=True)
class AttemptPayment:
    """Which booking, and the payment method to try."""

    booking_id: str
    payment_token: str = field(repr=False)


async def attempt_payment(ports: Ports, caller: Principal, command: AttemptPayment, key: IdempotencyKey) -> View:
    """Try another payment method; CONFIRMED when it paid at once."""
    booking = await _take(ports, caller, command, key)
    saga = Saga(ports, booking)
    if booking.status is Status.PENDING and booking.step is Step.AWAIT:
        # Named by the key, so that the same call tries once, however often it comes.
        attempt = hashlib.sha256(key.key.encode()).hexdigest()[:40]
        charge = await ports.payments.attempt(saga.mandate, attempt, command.payment_token)
        await saga.take(charge)
        await saga.run_or_leave()
        if charge.client_secret and saga.booking.step is Step.AWAIT:
            return View(saga.booking, shows_guest=True, client_secret=charge.client_secret)
    return await view(ports, caller, saga.booking)


async def _take(ports: Ports, caller: Principal, command: AttemptPayment, key: IdempotencyKey) -> Booking:
    """Claim the key for this attempt, and have the worker ask soon should this call not end."""
    for _ in range(MAX_TRIES):
        booking = await visible(ports, caller, command.booking_id)
        if not caller.is_user(booking.user_id):
            raise NotFound(resource="booking")
        now = ports.clock.now()
        if not _payable(booking) or booking.overdue(now):
            if await ports.bookings.first_use(key) is not None:
                return booking
            raise BookingStateInvalid(status=booking.status)
        try:
            return await ports.bookings.save(booking, booking.due(lease_from(ports, now)), key=key)
        except Stale:
            continue
        except Repeated:
            return booking
    raise DependencyUnavailable("The booking changes too fast.")


def _payable(booking: Booking) -> bool:
    return booking.status is Status.PENDING and booking.step is Step.AWAIT and booking.payment_status in _OPEN
