"""Between payment's messages and its domain, both ways."""

from __future__ import annotations

from berth.payment.events.v1 import events_pb2 as events
from berth.payment.v1 import payment_pb2 as messages
from berth.payment.v1 import payment_service_pb2 as service
from berth.type.v1 import money_pb2
from google.protobuf.message import Message

from services.chassis.errors import InvalidField, Violation
from services.chassis.instants import instant_to
from services.chassis.money import AmountInexact, CurrencyUnknown, Money
from services.payment.domain.payments import (
    Fact,
    Payment,
    PaymentAttemptFailed,
    PaymentCancelled,
    PaymentSucceeded,
    Refund,
    RefundUpdated,
)
from services.payment.usecases.charging import Charge, StartPayment
from services.payment.usecases.refunding import CreateRefund, RefundPayment

TOPIC = "berth.payment.v1"


def start_payment(request: service.StartPaymentRequest) -> StartPayment:
    return StartPayment(
        booking_id=request.booking_id,
        step=request.step,
        amount=money(request.amount, "amount"),
        user_id=request.user_id,
        vendor_id=request.vendor_id,
        token=request.token,
        manual_capture=request.manual_capture,
    )


def refund_payment(request: service.RefundPaymentRequest) -> RefundPayment:
    return RefundPayment(request.booking_id, request.step, money(request.amount, "amount"), request.reason)


def create_refund(request: service.CreateRefundRequest) -> CreateRefund:
    return CreateRefund(request.payment_id, money(request.amount, "amount"), request.reason)


def money(sent: money_pb2.Money, field: str) -> Money:
    """An exact amount, or the field's violation."""
    try:
        return Money.parse(sent.currency_code, sent.amount)
    except CurrencyUnknown as error:
        raise InvalidField(violations=(Violation(f"{field}.currency_code", str(error), "currency"),)) from error
    except AmountInexact as error:
        raise InvalidField(violations=(Violation(f"{field}.amount", str(error), "exact"),)) from error


def charge(charge: Charge, booking_id: str) -> service.ChargeResponse:
    """A charge; a booking that has no payment is shown by one that is cancelled and has no id."""
    if charge.payment is None:
        none = messages.Payment(booking_id=booking_id, status=messages.Payment.CANCELLED)
        return service.ChargeResponse(payment=none)
    return service.ChargeResponse(payment=payment(charge.payment), client_secret=charge.client_secret)


def payment(payment: Payment) -> messages.Payment:
    return messages.Payment(
        payment_id=payment.payment_id,
        booking_id=payment.booking_id,
        status=messages.Payment.Status.Value(payment.status),
        amount=_money(payment.amount),
        captured_amount=_money(payment.captured),
        refunded_amount=_money(payment.refunded),
        last_error=payment.last_error,
        create_time=instant_to(payment.create_time),
        update_time=instant_to(payment.update_time),
        refunds=[refund(one) for one in payment.refunds],
        version=payment.version,
    )


def refund(refund: Refund) -> messages.Refund:
    return messages.Refund(
        refund_id=refund.refund_id,
        amount=_money(refund.amount),
        status=messages.Refund.Status.Value(refund.status),
        reason=refund.reason,
        create_time=instant_to(refund.create_time),
    )


def event_of(fact: Fact) -> tuple[str, bytes]:
    """A fact's message type and its bytes."""
    shown, user_id = payment(fact.payment), fact.payment.user_id
    message: Message
    match fact:
        case PaymentSucceeded():
            message = events.PaymentSucceeded(payment=shown, user_id=user_id)
        case PaymentAttemptFailed():
            message = events.PaymentAttemptFailed(payment=shown, user_id=user_id)
        case PaymentCancelled():
            message = events.PaymentCancelled(payment=shown, user_id=user_id)
        case RefundUpdated():
            message = events.RefundUpdated(payment=shown, refund=refund(fact.refund), user_id=user_id)
    return str(message.DESCRIPTOR.full_name), message.SerializeToString()


def _money(amount: Money) -> money_pb2.Money:
    return money_pb2.Money(currency_code=amount.currency, amount=amount.amount)
