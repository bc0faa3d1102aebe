"""Between booking's messages and its domain, both ways."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from berth.booking.events.v1 import events_pb2 as events
from berth.booking.v1 import booking_pb2 as messages
from berth.booking.v1 import booking_service_pb2 as service
from berth.inventory.v1 import item_pb2
from berth.inventory.v1.resource_pb2 import Resource
from berth.payment.v1 import payment_pb2
from berth.type.v1 import money_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.booking.domain import (
    Booking,
    Charge,
    Fact,
    FactKind,
    Guest,
    Item,
    Order,
    PaymentStatus,
    Policy,
    PricedItem,
    PriceKind,
    PriceLine,
    Refund,
    RefundStatus,
    Status,
    Transition,
)
from services.booking.usecases import (
    AttemptPayment,
    CancelBooking,
    CancellationQuote,
    CreateBooking,
    View,
)
from services.chassis.errors import InvalidField, Violation
from services.chassis.instants import instant_if, instant_to
from services.chassis.money import Money

TOPIC = "berth.booking.v1"
CREDIT_CARD = "credit_card"

_STATUSES = {status: messages.Booking.Status.Value(status) for status in Status}
_POLICIES = {policy: Resource.CancellationPolicy.Value(policy) for policy in Policy}
_KINDS = {kind: item_pb2.PriceLine.Kind.Value(kind) for kind in PriceKind}
_PAYMENT_STATUSES = {status: payment_pb2.Payment.Status.Value(status) for status in PaymentStatus}
_REFUND_STATUSES = {status: payment_pb2.Refund.Status.Value(status) for status in RefundStatus}
_FROM_POLICY = {value: policy for policy, value in _POLICIES.items()}
_FROM_KIND = {value: kind for kind, value in _KINDS.items()}
_FROM_PAYMENT_STATUS = {value: status for status, value in _PAYMENT_STATUSES.items()}
_FROM_REFUND_STATUS = {value: status for status, value in _REFUND_STATUSES.items()}
_FROM_STATUS = {value: status for status, value in _STATUSES.items()}


# What is asked.


def create_booking(request: service.CreateBookingRequest) -> CreateBooking:
    details = request.user_details
    return CreateBooking(
        order=_order(request),
        guest=Guest(
            _name(details.first_name, "user_details.first_name"),
            _name(details.last_name, "user_details.last_name"),
            details.email,
            details.phone,
        ),
        payment_method=request.payment_method or CREDIT_CARD,
        payment_token=request.payment_details.token,
    )


def cancel_booking(request: service.CancelBookingRequest) -> CancelBooking:
    wanted = request.refund_requested if request.HasField("refund_requested") else True
    return CancelBooking(request.booking_id, request.reason, wanted, request.etag)


def attempt_payment(request: service.AttemptBookingPaymentRequest) -> AttemptPayment:
    if not request.payment_details.token:
        raise InvalidField(violations=(Violation("payment_details.token", "is needed for an attempt", "required"),))
    return AttemptPayment(request.booking_id, request.payment_details.token)


def status_asked(value: messages.Booking.Status.ValueType) -> Status | None:
    return _FROM_STATUS.get(value)


def _name(text: str, field: str) -> str:
    name = text.strip()
    if not name:
        raise InvalidField(violations=(Violation(field, "must not be blank", "string.min_len"),))
    return name


def _order(request: service.CreateBookingRequest) -> Order:
    if request.resource_id:
        return Order(items=(_item_asked(request, ""),))
    items = tuple(_item_asked(item, f"items[{index}].") for index, item in enumerate(request.items))
    return Order(items=items, quote_id=request.quote_id, hold_id=request.hold_id)


def _item_asked(asked: service.CreateBookingRequest | item_pb2.Item, path: str) -> Item:
    for field in ("start_date", "end_date"):
        try:
            text = getattr(asked, field)
            date.fromisoformat(text) if text else None
        except ValueError:
            raise InvalidField(violations=(Violation(path + field, "is not a day of the calendar", "date"),)) from None
    return item(asked)


# What inventory and payment say.


def item(sent: service.CreateBookingRequest | item_pb2.Item) -> Item:
    return Item(
        resource_id=sent.resource_id,
        start_date=sent.start_date,
        end_date=sent.end_date,
        start_time=_datetime(sent.start_time) if sent.HasField("start_time") else None,
        end_time=_datetime(sent.end_time) if sent.HasField("end_time") else None,
        quantity=sent.quantity or 1,
    )


def priced_item(sent: item_pb2.PricedItem) -> PricedItem:
    return PricedItem(
        item=item(sent.item),
        vendor_id=sent.vendor_id,
        resource_name=sent.resource_name,
        time_zone=sent.time_zone,
        begin_time=_datetime(sent.begin_time),
        finish_time=_datetime(sent.finish_time),
        lines=tuple(
            PriceLine(_FROM_KIND[line.kind], line.quantity, money(line.unit_price), money(line.amount))
            for line in sent.lines
        ),
        total=money(sent.total),
        policy=_FROM_POLICY.get(sent.cancellation_policy, Policy.MODERATE),
    )


def charge(sent: payment_pb2.Payment, client_secret: str = "") -> Charge:
    return Charge(
        payment_id=sent.payment_id,
        # A status of a newer contract is one that has not been decided, as far as we know.
        status=_FROM_PAYMENT_STATUS.get(sent.status, PaymentStatus.PROCESSING),
        version=sent.version,
        last_error=sent.last_error,
        refunds=tuple(
            Refund(
                refund.refund_id,
                money(refund.amount),
                _FROM_REFUND_STATUS.get(refund.status, RefundStatus.PENDING),
                refund.reason,
            )
            for refund in sent.refunds
        ),
        client_secret=client_secret,
        paid=money(sent.amount) if sent.status == payment_pb2.Payment.SUCCEEDED else None,
    )


def money(sent: money_pb2.Money) -> Money:
    return Money.parse(sent.currency_code, sent.amount)


# What is asked of inventory and payment.


def item_message(item: Item) -> item_pb2.Item:
    return item_pb2.Item(
        resource_id=item.resource_id,
        start_date=item.start_date,
        end_date=item.end_date,
        start_time=instant_if(item.start_time),
        end_time=instant_if(item.end_time),
        quantity=item.quantity,
    )


def money_message(amount: Money | None) -> money_pb2.Money | None:
    return money_pb2.Money(currency_code=amount.currency, amount=amount.amount) if amount is not None else None


# What is answered.


def booking(view: View) -> messages.Booking:
    booking = view.booking
    answer = messages.Booking(
        booking_id=booking.booking_id,
        status=_STATUSES[booking.status],
        user_id=booking.user_id,
        vendor_id=booking.vendor_id,
        items=[_priced_message(sold) for sold in booking.items],
        total_price=money_message(booking.total),
        confirmation_code=booking.confirmation_code,
        payment=messages.BookingPayment(
            payment_id=booking.payment_id,
            client_secret=view.client_secret,
            status=_payment_status(booking),
            last_error=booking.payment_error,
        ),
        payment_status=_payment_status(booking),
        refund_amount=money_message(booking.refund),
        refund_status=_refund_status(booking),
        cancel_reason=booking.cancel_reason,
        # One that was given up, and then found paid, has expired.
        failure_reason=booking.failure.reason if booking.failure and booking.status is not Status.EXPIRED else "",
        create_time=instant_to(booking.create_time),
        update_time=instant_to(booking.update_time),
        confirm_time=instant_if(booking.confirm_time),
        cancel_time=instant_if(booking.cancel_time),
        payment_due_time=instant_to(booking.payment_due_time),
        etag=booking.etag,
    )
    _show_first_item(booking, answer)
    if view.shows_guest:
        guest = booking.guest
        answer.user_details.first_name = guest.first_name
        answer.user_details.last_name = guest.last_name
        answer.user_details.email = guest.email
        answer.user_details.phone = guest.phone
    return answer


def booking_list(views: Iterable[View], pagination: service.Pagination) -> service.ListBookingsResponse:
    return service.ListBookingsResponse(data=[booking(view) for view in views], pagination=pagination)


def history(transitions: Iterable[Transition]) -> service.GetBookingHistoryResponse:
    return service.GetBookingHistoryResponse(
        transitions=[
            service.BookingTransition(
                from_status=_STATUSES[found.from_status] if found.from_status else None,
                to_status=_STATUSES[found.to_status],
                time=instant_to(found.time),
                actor=found.actor,
                reason=found.reason,
            )
            for found in transitions
        ]
    )


def cancellation_quote(quote: CancellationQuote) -> service.CancellationQuote:
    terms = quote.terms
    if terms is None:
        return service.CancellationQuote(cancellable=quote.cancellable)
    return service.CancellationQuote(
        cancellable=quote.cancellable,
        refund_amount=money_message(terms.refund),
        penalty_amount=money_message(terms.penalty),
        refund_basis_points=terms.basis_points,
        next_change_time=instant_if(terms.next_change),
    )


# What is published.


def event_of(fact: Fact) -> tuple[str, bytes]:
    """A fact's message type and its bytes."""
    booking = fact.booking
    message: Message
    match fact.kind:
        case FactKind.REQUESTED:
            message = events.BookingRequested(booking=_snapshot(booking))
        case FactKind.CONFIRMED:
            message = events.BookingConfirmed(booking=_snapshot(booking))
        case FactKind.FAILED:
            reason = booking.failure.reason if booking.failure else booking.status_reason
            message = events.BookingFailed(booking=_snapshot(booking), reason=reason)
        case FactKind.EXPIRED:
            message = events.BookingExpired(booking=_snapshot(booking), refund_amount=money_message(booking.refund))
        case FactKind.CANCELLED:
            message = events.BookingCancelled(
                booking=_snapshot(booking), refund_amount=money_message(booking.refund), actor=booking.status_actor
            )
    return str(message.DESCRIPTOR.full_name), message.SerializeToString()


def _snapshot(booking: Booking) -> events.BookingSnapshot:
    snapshot = events.BookingSnapshot(
        booking_id=booking.booking_id,
        user_id=booking.user_id,
        vendor_id=booking.vendor_id,
        status=_STATUSES[booking.status],
        total_price=money_message(booking.total),
        version=booking.version,
    )
    if booking.items:
        first = booking.items[0]
        snapshot.resource_id = first.item.resource_id
        snapshot.time_zone = first.time_zone
        snapshot.start_time.CopyFrom(instant_to(first.begin_time))
        snapshot.end_time.CopyFrom(instant_to(first.finish_time))
    elif booking.order.items:
        snapshot.resource_id = booking.order.items[0].resource_id
    return snapshot


def _show_first_item(booking: Booking, answer: messages.Booking) -> None:
    if booking.items:
        sold = booking.items[0]
        answer.resource_name = sold.resource_name
        answer.start_time.CopyFrom(instant_to(sold.begin_time))
        answer.end_time.CopyFrom(instant_to(sold.finish_time))
        answer.cancellation_policy = _POLICIES[sold.policy]
        first = sold.item
    elif booking.order.items:
        first = booking.order.items[0]
    else:
        return
    answer.resource_id = first.resource_id
    answer.start_date = first.start_date
    answer.end_date = first.end_date
    answer.quantity = first.quantity


def _refund_status(booking: Booking) -> payment_pb2.Refund.Status.ValueType | None:
    return _REFUND_STATUSES[booking.refund_status] if booking.refund_status else None


def _payment_status(booking: Booking) -> payment_pb2.Payment.Status.ValueType | None:
    if booking.payment_status is not None:
        return _PAYMENT_STATUSES[booking.payment_status]
    # Being begun: nobody has answered yet.
    pending = booking.status is Status.PENDING
    return payment_pb2.Payment.PROCESSING if pending else None


def _priced_message(sold: PricedItem) -> item_pb2.PricedItem:
    return item_pb2.PricedItem(
        item=item_message(sold.item),
        vendor_id=sold.vendor_id,
        resource_name=sold.resource_name,
        time_zone=sold.time_zone,
        begin_time=instant_to(sold.begin_time),
        finish_time=instant_to(sold.finish_time),
        lines=[
            item_pb2.PriceLine(
                kind=_KINDS[line.kind],
                quantity=line.quantity,
                unit_price=money_message(line.unit_price),
                amount=money_message(line.amount),
            )
            for line in sold.lines
        ],
        total=money_message(sold.total),
        cancellation_policy=_POLICIES[sold.policy],
    )


def _datetime(sent: Timestamp) -> datetime:
    return sent.ToDatetime(tzinfo=UTC)
