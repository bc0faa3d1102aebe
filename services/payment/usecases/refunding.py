"""Gives money back: once per booking and step for booking, once per idempotency key for people."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, InvalidField, NotFound, Violation
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.payment.domain.payments import Change, Payment, Refund, Status, ask_refund
from services.payment.ports import Ports
from services.payment.usecases.reading import SEES_ALL, visible_payment
from services.payment.usecases.settling import change, give, sync


@dataclass(frozen=True, slots=True)
class RefundPayment:
    """Money of a booking to give back."""

    booking_id: str
    step: str
    amount: Money
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """Money of one payment to give back outside the cancellation policy."""

    payment_id: str
    amount: Money
    reason: str = ""


async def refund_payment(ports: Ports, caller: Principal, command: RefundPayment) -> Payment:
    """Gives back a part of a booking's payment; the same step answers the same refund."""
    _check(command.amount)
    payments = await ports.payments.of_booking(caller.tenant_id, command.booking_id)
    if not payments:
        raise NotFound(resource="payment")
    for payment in payments:
        refund = payment.refund_of(command.step)
        if refund is not None:
            if refund.amount != command.amount:
                raise IdempotencyKeyReused("This step of the booking has a refund of another amount.")
            return await give(ports, payment, refund.refund_id)
    payment = await _payment_to_refund(ports, payments, command.amount)
    refund_id = new_id("rfd", at=ports.clock.now(), shard=shard_of(payment.payment_id))
    payment = await _ask(ports, payment, refund_id, command.step, command.amount, command.reason)
    asked = payment.refund_of(command.step)
    return await give(ports, payment, asked.refund_id if asked else refund_id)


async def create_refund(ports: Ports, caller: Principal, command: CreateRefund, key: IdempotencyKey | None) -> Refund:
    """Gives money back by a person's decision: the vendor's own people, or an administrator."""
    _check(command.amount)
    if key is None:
        raise IdempotencyKeyInvalid
    payment = await visible_payment(ports, caller, command.payment_id)
    if not (caller.works_for(payment.vendor_id) or caller.may(SEES_ALL)):
        raise NotFound(resource="payment")  # its payer sees it, but this is not theirs to do
    if payment.status is not Status.SUCCEEDED:
        payment = await sync(ports, payment)
    at = ports.clock.now()
    proposed = new_id("rfd", at=at, shard=shard_of(payment.payment_id))
    refund_id = await ports.payments.refund_claim(key, proposed, at)
    step = f"manual-{refund_id}"
    if payment.refund_of(step) is None:
        payment = await _ask(ports, payment, refund_id, step, command.amount, command.reason)
    payment = await give(ports, payment, refund_id)
    return next(refund for refund in payment.refunds if refund.refund_id == refund_id)


async def _ask(ports: Ports, payment: Payment, refund_id: str, step: str, amount: Money, reason: str) -> Payment:
    def decide(now: Payment) -> Change | None:
        if now.refund_of(step) is not None:
            return None
        return ask_refund(now, refund_id, step, amount, reason, ports.clock.now())

    return await change(ports, payment, decide)


async def _payment_to_refund(ports: Ports, payments: list[Payment], amount: Money) -> Payment:
    """The booking's oldest payment that holds enough; where none is known to, the provider is asked first."""
    current = list(payments)
    for asked in (False, True):
        if asked:
            current = [
                await sync(ports, payment) if payment.status is not Status.CANCELLED else payment for payment in current
            ]
        for payment in current:
            fits = payment.amount.currency == amount.currency and payment.refundable >= amount
            if payment.status is Status.SUCCEEDED and fits:
                return payment
    # None does: the refusal is the one of the payment that comes nearest.
    return max(current, key=lambda payment: (payment.status is Status.SUCCEEDED, payment.refundable.minor))


def _check(amount: Money) -> None:
    if amount.minor <= 0:
        raise InvalidField(violations=(Violation("amount.amount", "must be more than nothing", "positive"),))
