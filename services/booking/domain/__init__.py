"""What a booking is, how it may change, and what a cancellation gives back. Pure: no clock, no wire, no database."""

from services.booking.domain.booking import (
    BOOK_STEP,
    CANCEL_STEP,
    LATE_STEP,
    Booking,
    Ending,
    Failure,
    Guest,
    Order,
    Step,
    new_booking,
)
from services.booking.domain.cancellation import EVERYTHING, Cancellation, cancellation
from services.booking.domain.errors import (
    BookingStateInvalid,
    HoldEnded,
    ItemsIncompatible,
    NotBookable,
    PaymentTokenInvalid,
    QuoteInvalid,
    SlotTaken,
    refusal_of,
)
from services.booking.domain.facts import Fact, FactKind, fact_of
from services.booking.domain.items import Item, Policy, PricedItem, PriceKind, PriceLine
from services.booking.domain.payment import Charge, PaymentStatus, Refund, RefundStatus
from services.booking.domain.transitions import TRANSITIONS, Status, Transition

__all__ = [
    "BOOK_STEP",
    "CANCEL_STEP",
    "EVERYTHING",
    "LATE_STEP",
    "TRANSITIONS",
    "Booking",
    "BookingStateInvalid",
    "Cancellation",
    "Charge",
    "Ending",
    "Fact",
    "FactKind",
    "Failure",
    "Guest",
    "HoldEnded",
    "Item",
    "ItemsIncompatible",
    "NotBookable",
    "Order",
    "PaymentStatus",
    "PaymentTokenInvalid",
    "Policy",
    "PriceKind",
    "PriceLine",
    "PricedItem",
    "QuoteInvalid",
    "Refund",
    "RefundStatus",
    "SlotTaken",
    "Status",
    "Step",
    "Transition",
    "cancellation",
    "fact_of",
    "new_booking",
    "refusal_of",
]
