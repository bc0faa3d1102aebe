"""What a booking's change means to others: the facts that are published, one for each transition."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.booking.domain.booking import Booking
from services.booking.domain.transitions import Status


class FactKind(StrEnum):
    """The event's name in the contract."""

    REQUESTED = "BookingRequested"
    CONFIRMED = "BookingConfirmed"
    FAILED = "BookingFailed"
    EXPIRED = "BookingExpired"
    CANCELLED = "BookingCancelled"


_KINDS = {
    Status.PENDING: FactKind.REQUESTED,
    Status.CONFIRMED: FactKind.CONFIRMED,
    Status.FAILED: FactKind.FAILED,
    Status.EXPIRED: FactKind.EXPIRED,
    Status.CANCELLED: FactKind.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A transition, with the booking that resulted."""

    kind: FactKind
    booking: Booking


def fact_of(before: Booking | None, after: Booking) -> Fact | None:
    """The fact that leads from `before` to `after`: none where the status stays."""
    if before is not None and before.status is after.status:
        return None
    return Fact(_KINDS[after.status], after)
