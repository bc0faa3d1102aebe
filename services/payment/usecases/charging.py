"""What booking asks for: begin a payment, try again, read, cancel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from services.chassis.errors import (
    DependencyUnavailable,
    IdempotencyKeyReused,
    InvalidField,
    NotFound,
    Violation,
)
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.payment.domain.payments import (
    FINAL,
    PAYABLE,
    Change,
    Payment,
    PaymentStateInvalid,
    PaymentTokenInvalid,
    Status,
    attempted,
    give_up_start,
)
from services.payment.ports import AmountRefused, AnswerUseless, OutcomeUnknown, Ports
from services.payment.usecases.settling import RETRY_AFTER, apply, cancel_open, change, recover_start, sync


@dataclass(frozen=True, slots=True)
class StartPayment:
    """A booking to be paid."""

    booking_id: str
    step: str
    amount: Money
    user_id: str
    vendor_id: str
    token: str = ""
    manual_capture: bool = False


class Charge(NamedTuple):
    """A payment, and what lets its payer finish it."""

    payment: Payment | None
    client_secret: str = ""


async def start_payment(ports: Ports, caller: Principal, command: StartPayment) -> Charge:
    """Begins a booking's payment, or answers the one that this step has; what is unknown stays PROCESSING."""
    at = ports.clock.now()
    if command.amount.minor <= 0:
        raise InvalidField(violations=(Violation("amount.amount", "must be more than nothing", "positive"),))
    asked = Payment(
        payment_id=new_id("pay", at=at, shard=shard_of(command.booking_id)),
        tenant_id=caller.tenant_id,
        booking_id=command.booking_id,
        step=command.step,
        user_id=command.user_id,
        vendor_id=command.vendor_id,
        amount=command.amount,
        manual_capture=command.manual_capture,
        status=Status.PROCESSING,
        captured=Money.zero(command.amount.currency),
        create_time=at,
        update_time=at,
        attempt_time=at,
    )
    payment = await ports.payments.start(asked)
    is_new = payment.payment_id == asked.payment_id
    if (payment.amount, payment.user_id, payment.vendor_id) != (asked.amount, asked.user_id, asked.vendor_id):
        raise IdempotencyKeyReused("This step of the booking has a payment of another amount or person.")
    if payment.status is not Status.PROCESSING or payment.provider_intent_id is not None:
        return await _with_secret(ports, payment)
    if not is_new:
        # Noted before it is asked: nobody may take the provider for quiet while this call is under way.
        payment = await change(ports, payment, lambda now: attempted(now, at) if _is_unknown(now) else None)
        if not _is_unknown(payment):
            return await _with_secret(ports, payment)
    return await _begin(ports, payment, command.token)


async def attempt_payment(ports: Ports, caller: Principal, booking_id: str, attempt: str, token: str) -> Charge:
    """Tries another payment method on the booking's payment; a decline is an answer, and it stays payable."""
    payments = await ports.payments.of_booking(caller.tenant_id, booking_id)
    payment = next((one for one in reversed(payments) if one.status not in FINAL), None) or _latest(payments)
    if payment.status is Status.PROCESSING:
        payment = await sync(ports, payment)
        if payment.status is Status.PROCESSING:
            raise DependencyUnavailable("The payment is still being begun.", retry_after=RETRY_AFTER)
    if payment.status is Status.CANCELLED or payment.cancel_wanted:
        raise PaymentStateInvalid(status=payment.status)
    if payment.status not in PAYABLE:
        return Charge(payment)
    try:
        intent = await ports.provider.confirm(payment, attempt, token)
    except OutcomeUnknown:
        return await _with_secret(ports, await sync(ports, payment))
    payment = await apply(ports, payment, intent)
    if payment.cancel_wanted:
        payment = await cancel_open(ports, payment)
    return Charge(payment, intent.client_secret if payment.status in PAYABLE else "")


async def get_charge(ports: Ports, caller: Principal, booking_id: str, *, refresh: bool) -> Charge:
    """The booking's payment with its client secret."""
    payment = _latest(await ports.payments.of_booking(caller.tenant_id, booking_id))
    if refresh and payment.status not in FINAL:
        if _is_unknown(payment):
            payment = await sync(ports, payment)
        else:
            return await _with_secret(ports, payment, insist=True)
    return await _with_secret(ports, payment)


async def cancel_payment(ports: Ports, caller: Principal, booking_id: str) -> Charge:
    """Cancels what is open of a booking's payments, and what comes late; answers a captured one if there is one."""
    payments = await ports.payments.cancel_booking(caller.tenant_id, booking_id, ports.clock.now())
    cancelled = [await cancel_open(ports, payment) for payment in payments]
    paid = [payment for payment in cancelled if payment.status is Status.SUCCEEDED]
    if paid:
        # The booking goes on after all, and may have more to pay one day.
        await ports.payments.reopen_booking(caller.tenant_id, booking_id)
    return Charge((paid or cancelled)[-1]) if cancelled else Charge(None)


async def _begin(ports: Ports, payment: Payment, token: str) -> Charge:
    try:
        intent = await ports.provider.create(payment, token)
    except AnswerUseless:
        payment = await recover_start(ports, payment, token)
        return await _with_secret(ports, payment)
    except OutcomeUnknown:
        return Charge(payment)
    except PaymentTokenInvalid:
        await change(ports, payment, lambda now: _given_up(now, "payment_token_invalid", ports))
        raise
    except AmountRefused as error:
        await change(ports, payment, lambda now: _given_up(now, "amount_refused", ports))
        refused = Violation("amount", "is not one that the payment provider takes", "provider")
        raise InvalidField(violations=(refused,)) from error
    payment = await apply(ports, payment, intent)
    if payment.cancel_wanted:
        payment = await cancel_open(ports, payment)
    return Charge(payment, intent.client_secret if payment.status in PAYABLE else "")


async def _with_secret(ports: Ports, payment: Payment, *, insist: bool = False) -> Charge:
    """The payment with a client secret read from the provider, where one is of use."""
    if payment.status not in PAYABLE and not insist:
        return Charge(payment)
    try:
        intent = await ports.provider.fetch(payment)
    except (DependencyUnavailable, OutcomeUnknown):
        if insist:
            raise DependencyUnavailable(retry_after=RETRY_AFTER) from None
        return Charge(payment)  # what we know is still worth having
    if intent is None:
        return Charge(payment)
    payment = await apply(ports, payment, intent)
    return Charge(payment, intent.client_secret if payment.status in PAYABLE else "")


def _latest(payments: list[Payment]) -> Payment:
    if not payments:
        raise NotFound(resource="payment")
    return payments[-1]


def _is_unknown(payment: Payment) -> bool:
    return payment.status is Status.PROCESSING and payment.provider_intent_id is None


def _given_up(payment: Payment, error: str, ports: Ports) -> Change | None:
    return give_up_start(payment, error, ports.clock.now()) if _is_unknown(payment) else None
