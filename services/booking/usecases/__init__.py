"""What can be done with bookings, one function a verb."""

from services.booking.usecases.cancel import (
    CancelBooking,
    CancellationQuote,
    cancel_booking,
    cancellation_quote,
)
from services.booking.usecases.create import CreateBooking, create_booking
from services.booking.usecases.news import hear_payment
from services.booking.usecases.pay import AttemptPayment, attempt_payment
from services.booking.usecases.read import (
    View,
    booking_history,
    describe_booking,
    get_booking,
    user_bookings,
    vendor_bookings,
)
from services.booking.usecases.saga import resume

__all__ = [
    "AttemptPayment",
    "CancelBooking",
    "CancellationQuote",
    "CreateBooking",
    "View",
    "attempt_payment",
    "booking_history",
    "cancel_booking",
    "cancellation_quote",
    "create_booking",
    "describe_booking",
    "get_booking",
    "hear_payment",
    "resume",
    "user_bookings",
    "vendor_bookings",
]
