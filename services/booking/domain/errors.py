"""What booking refuses, by the reasons of its contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.chassis.errors import DependencyUnavailable, InvalidField, NotFound, Refusal


class SlotTaken(Refusal):
    """The units are taken."""

    reason = "SLOT_TAKEN"


class NotBookable(Refusal):
    """The resource cannot be booked like that."""

    reason = "NOT_BOOKABLE"


class QuoteInvalid(Refusal):
    """The quote has ended or belongs to somebody else."""

    reason = "QUOTE_INVALID"


class HoldEnded(Refusal):
    """The hold has ended or belongs to somebody else."""

    reason = "HOLD_ENDED"


class BookingStateInvalid(Refusal):
    """The booking's state does not allow it."""

    reason = "BOOKING_STATE_INVALID"


class PaymentTokenInvalid(Refusal):
    """The payment token is not one that the provider knows."""

    reason = "PAYMENT_TOKEN_INVALID"


class ItemsIncompatible(Refusal):
    """The items have different currencies or vendors; book them apart."""

    reason = "ITEMS_INCOMPATIBLE"


_FAILURES: Mapping[str, type[Refusal]] = {
    refusal.reason: refusal
    for refusal in (
        SlotTaken,
        NotBookable,
        QuoteInvalid,
        HoldEnded,
        PaymentTokenInvalid,
        ItemsIncompatible,
        NotFound,
        InvalidField,
    )
}


def refusal_of(reason: str, details: Mapping[str, str]) -> Refusal:
    """The refusal that a failed booking's caller hears, also when the same call comes again."""
    metadata: dict[str, Any] = dict(details)
    return _FAILURES.get(reason, DependencyUnavailable)(**metadata)
