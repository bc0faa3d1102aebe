"""Protobuf to domain and back, for notification."""

from __future__ import annotations

from datetime import UTC, date, datetime

from berth.auth.events.v1.events_pb2 import OtpIssued
from berth.auth.v1.tenant_service_pb2 import Contact as ContactMessage
from berth.auth.v1.tenant_service_pb2 import GetOtpResponse
from berth.booking.events.v1.events_pb2 import BookingCancelled, BookingConfirmed, BookingExpired
from berth.booking.v1.booking_pb2 import Booking
from berth.notification.v1 import notification_service_pb2 as api
from berth.payment.events.v1.events_pb2 import PaymentAttemptFailed
from berth.type.v1.money_pb2 import Money as MoneyMessage
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.instants import instant_if, instant_to
from services.chassis.money import Money
from services.notification.domain import (
    BookingDetails,
    Code,
    Contact,
    Delivery,
    Kind,
    Notification,
    Status,
    Subject,
)

_PURPOSES = {
    OtpIssued.Purpose.VERIFY_EMAIL: Kind.VERIFY_EMAIL,
    OtpIssued.Purpose.ALREADY_REGISTERED: Kind.ALREADY_REGISTERED,
}


def event_types() -> tuple[str, ...]:
    """The events that people are told of, by their full names."""
    kinds = (OtpIssued, BookingConfirmed, BookingCancelled, BookingExpired, PaymentAttemptFailed)
    return tuple(kind.DESCRIPTOR.full_name for kind in kinds)


def told(event: Message) -> tuple[str, Subject] | None:
    """Whom an event's message goes to and what it is about; None where nobody is told."""
    match event:
        case OtpIssued():
            kind = _PURPOSES.get(event.purpose)
            if kind is None:
                return None
            return event.user_id, Subject(
                kind, challenge_id=event.challenge_id, expire_time=instant_or_none(event, "expire_time")
            )
        case BookingConfirmed():
            return event.booking.user_id, Subject(Kind.BOOKING_CONFIRMED, booking_id=event.booking.booking_id)
        case BookingCancelled():
            return event.booking.user_id, Subject(
                Kind.BOOKING_CANCELLED, booking_id=event.booking.booking_id, refund=money(event.refund_amount)
            )
        case BookingExpired():
            return event.booking.user_id, Subject(
                Kind.BOOKING_EXPIRED, booking_id=event.booking.booking_id, refund=money(event.refund_amount)
            )
        case PaymentAttemptFailed():
            return event.user_id, Subject(Kind.PAYMENT_FAILED, booking_id=event.payment.booking_id)
        case _:
            return None


def money(message: MoneyMessage) -> Money | None:
    """An amount; None where it is absent."""
    return Money.parse(message.currency_code, message.amount) if message.currency_code else None


def contact(message: ContactMessage) -> Contact:
    """How to write to a person."""
    return Contact(
        email=message.email,
        first_name=message.first_name,
        locale=message.locale,
        tenant_name=message.tenant_display_name,
    )


def code(message: GetOtpResponse) -> Code:
    """A code to mail."""
    return Code(message.otp, message.expire_time.ToDatetime(tzinfo=UTC))


def booking_details(message: Booking) -> BookingDetails:
    """What messages say of a booking."""
    return BookingDetails(
        resource_name=message.resource_name,
        confirmation_code=message.confirmation_code,
        total=money(message.total_price),
        time_zone=message.items[0].time_zone if message.items else "UTC",
        start_time=instant_or_none(message, "start_time"),
        end_time=instant_or_none(message, "end_time"),
        start_date=_date(message.start_date),
        end_date=_date(message.end_date),
    )


def notification_message(notification: Notification) -> api.Notification:
    """A message in an inbox."""
    return api.Notification(
        notification_id=notification.notification_id,
        kind=notification.kind,
        title=notification.title,
        body=notification.body,
        booking_id=notification.booking_id,
        create_time=instant_to(notification.create_time),
        read_time=instant_if(notification.read_time),
    )


def delivery_message(delivery: Delivery) -> api.Delivery:
    """A line of the delivery log."""
    return api.Delivery(
        delivery_id=delivery.delivery_id,
        event_id=delivery.event_id,
        user_id=delivery.user_id,
        kind=delivery.subject.kind,
        status=api.Delivery.Status.Value(delivery.status),
        attempts=delivery.attempts,
        last_error=delivery.last_error,
        create_time=instant_to(delivery.create_time),
        sent_time=instant_if(delivery.sent_time),
    )


def status(value: api.Delivery.Status.ValueType) -> Status | None:
    """The status that a list is narrowed to, if it is."""
    unspecified = value == api.Delivery.Status.STATUS_UNSPECIFIED
    return None if unspecified else Status(api.Delivery.Status.Name(value))


def instant_or_none(message: Message, field: str) -> datetime | None:
    """An instant; None where it is absent."""
    if not message.HasField(field):
        return None
    found: Timestamp = getattr(message, field)
    return found.ToDatetime(tzinfo=UTC)


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None
