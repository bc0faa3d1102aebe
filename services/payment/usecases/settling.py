"""Brings what we know of a payment up to what the provider says, whoever else is doing so at the same time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.ids import new_id, shard_of
from services.payment.domain.payments import (
    FINAL,
    Change,
    Payment,
    ProviderIntent,
    ProviderRefund,
    Refund,
    RefundStatus,
    Status,
    adopt_refund,
    ask_refund_again,
    begin_again,
    follow,
    follow_refund,
    give_up_start,
    refuse_refund,
)
from services.payment.ports import AmountRefused, AnswerUseless, OutcomeUnknown, Ports, RefundRefused

MAX_RACES = 5  # lost to others that change the same payment
RETRY_AFTER = timedelta(seconds=5)
LOST_ANSWER = "processing_error"  # the provider's own word for "something went wrong, try again"


async def change(ports: Ports, payment: Payment, decide: Callable[[Payment], Change | None]) -> Payment:
    """Stores what `decide` makes of the payment; decides anew when somebody else changed it first."""
    for _ in range(MAX_RACES):
        decided = decide(payment)
        if decided is None:
            return payment
        saved = await ports.payments.save(decided)
        if saved.stored:
            return replace(decided.payment, cancel_wanted=saved.cancel_wanted)
        payment = await reload(ports, payment)
    raise DependencyUnavailable("The payment is being changed by others.", retry_after=RETRY_AFTER)


async def reload(ports: Ports, payment: Payment) -> Payment:
    """The payment as it is stored now."""
    stored = await ports.payments.get(payment.tenant_id, payment.payment_id)
    if stored is None:
        raise NotFound(resource="payment")
    return stored


async def apply(ports: Ports, payment: Payment, intent: ProviderIntent) -> Payment:
    """Stores what the provider said after `payment` was read.

    Whoever loses the race asks the provider again: only what was read after the stored version may follow it, so an
    older answer never overwrites a newer one. A final answer cannot be outdated.
    """
    for _ in range(MAX_RACES):
        decided = follow(payment, intent, ports.clock.now())
        if decided is None:
            return payment
        saved = await ports.payments.save(decided)
        if saved.stored:
            return replace(decided.payment, cancel_wanted=saved.cancel_wanted)
        payment = await reload(ports, payment)
        if intent.status not in FINAL:
            intent = await ports.provider.fetch(payment) or intent
    raise DependencyUnavailable("The payment is being changed by others.", retry_after=RETRY_AFTER)


async def sync(ports: Ports, payment: Payment) -> Payment:
    """The payment after asking the provider for it and for its refunds."""
    intent = await ports.provider.fetch(payment)
    if intent is None:
        return payment
    payment = await apply(ports, payment, intent)
    for refund in payment.refunds:
        if refund.status is RefundStatus.PENDING and refund.provider_refund_id is None:
            payment = await give(ports, payment, refund.refund_id)
    waiting = any(refund.status is RefundStatus.PENDING for refund in payment.refunds)
    if waiting or intent.refunded != payment.refunded_at_provider:
        payment = await _sync_refunds(ports, payment)
    return payment


async def give(ports: Ports, payment: Payment, refund_id: str) -> Payment:
    """Asks the provider for a refund that is stored as promised; where its answer is lost, the reconciler goes on."""
    refund = _refund(payment, refund_id)
    if refund.provider_refund_id is not None or refund.status is not RefundStatus.PENDING:
        return payment
    try:
        given = await ports.provider.refund(payment, refund)
    except (AnswerUseless, RefundRefused) as error:
        # The provider may have given it although it says otherwise: its list decides.
        listed = [one for one in await ports.provider.refunds(payment) if one.refund_id == refund_id]
        if listed:
            given = listed[0]
        elif isinstance(error, RefundRefused):
            return await change(ports, payment, lambda now: _if_pending(now, refund_id, refuse_refund, ports))
        elif ports.clock.now() - refund.attempt_time >= RETRY_AFTER:
            return await change(ports, payment, lambda now: _if_pending(now, refund_id, ask_refund_again, ports))
        else:
            return payment
    except (OutcomeUnknown, DependencyUnavailable):
        return payment
    return await change(
        ports, payment, lambda now: follow_refund(now, _refund(now, refund_id), given, ports.clock.now())
    )


async def cancel_open(ports: Ports, payment: Payment) -> Payment:
    """Cancels whatever is not captured; a payment that is captured already is answered as such."""
    if payment.status in FINAL:
        return payment
    if payment.provider_intent_id is None:
        intent = await ports.provider.fetch(payment)
        if intent is None:
            if not payment.is_quiet(ports.clock.now()):
                # A call that began before may still take effect there.
                raise DependencyUnavailable("The payment is still being begun.", retry_after=RETRY_AFTER)
            return await change(ports, payment, lambda now: _if_unstarted(now, ports))
        payment = await apply(ports, payment, intent)
        if payment.status in FINAL:
            return payment
    return await apply(ports, payment, await ports.provider.cancel(payment))


async def recover_start(ports: Ports, payment: Payment, token: str) -> Payment:
    """Goes on with a payment whose beginning was never answered: by what the provider has, else by beginning anew."""
    intent = await ports.provider.fetch(payment)
    if intent is None:
        if payment.cancel_wanted or not payment.is_quiet(ports.clock.now()):
            return payment
        given_up = payment.attempt
        payment = await change(ports, payment, lambda now: _if_still_unknown(now, ports))
        if payment.status is not Status.PROCESSING or payment.attempt == given_up:
            return payment  # somebody else knows more, or asks again right now
        try:
            intent = await ports.provider.create(payment, token)
        except OutcomeUnknown:
            return payment
        except AmountRefused:
            return await change(ports, payment, lambda now: _if_unstarted(now, ports, "amount_refused"))
        if not token and intent.status is Status.REQUIRES_PAYMENT_METHOD:
            # Tokens are not stored, so the payer has to try again; this tells them.
            intent = replace(intent, last_error=LOST_ANSWER)
    return await apply(ports, payment, intent)


async def _sync_refunds(ports: Ports, payment: Payment) -> Payment:
    for given in await ports.provider.refunds(payment):
        payment = await _take_in(ports, payment, given)
    return payment


async def _take_in(ports: Ports, payment: Payment, given: ProviderRefund) -> Payment:
    """The payment after what the provider lists of one refund, ours or somebody's at the provider itself."""
    at = ports.clock.now()
    ours = new_id("rfd", at=at, shard=shard_of(payment.payment_id))

    def decide(now: Payment) -> Change | None:
        for refund in now.refunds:
            if given.provider_refund_id == refund.provider_refund_id or given.refund_id == refund.refund_id:
                return follow_refund(now, refund, given, at)
        return adopt_refund(now, ours, given, at)

    return await change(ports, payment, decide)


def _refund(payment: Payment, refund_id: str) -> Refund:
    return next(refund for refund in payment.refunds if refund.refund_id == refund_id)


def _if_pending(payment: Payment, refund_id: str, decide: Callable[..., Change], ports: Ports) -> Change | None:
    refund = _refund(payment, refund_id)
    if refund.status is not RefundStatus.PENDING or refund.provider_refund_id is not None:
        return None
    return decide(payment, refund, ports.clock.now())


def _if_unstarted(payment: Payment, ports: Ports, error: str = "") -> Change | None:
    if payment.provider_intent_id is not None or payment.status in FINAL:
        return None
    return give_up_start(payment, error, ports.clock.now())


def _if_still_unknown(payment: Payment, ports: Ports) -> Change | None:
    if payment.provider_intent_id is not None or payment.status is not Status.PROCESSING:
        return None
    if not payment.is_quiet(ports.clock.now()):
        return None
    return begin_again(payment, ports.clock.now())
