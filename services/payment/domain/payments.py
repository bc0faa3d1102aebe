"""Payments and refunds: their states, what may follow what, and the facts and ledger entries that come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from services.chassis.errors import Refusal
from services.chassis.money import Money
from services.payment.domain.ledger import Entry, capture_entry, fee_entry, refund_entry, refund_failure_entry

# How long after a provider call began its effect may still appear there: longer than the call and its retries take.
QUIET = timedelta(seconds=30)
FIRST_CHECK = timedelta(seconds=5)  # of what should have been answered by now
PAYER_CHECK = timedelta(seconds=60)  # of what waits for the payer: webhooks tell sooner, unless they are lost


class PaymentStateInvalid(Refusal):
    """The payment's state does not allow it."""

    reason = "PAYMENT_STATE_INVALID"


class RefundExceedsPayment(Refusal):
    """The refund is larger than what is left of the payment."""

    reason = "REFUND_EXCEEDS_PAYMENT"


class SignatureInvalid(Refusal):
    """The webhook's signature is missing, wrong or too old."""

    reason = "SIGNATURE_INVALID"


class PaymentTokenInvalid(Refusal):
    """The provider does not know this payment token."""

    reason = "PAYMENT_TOKEN_INVALID"


class Status(StrEnum):
    """Where a payment stands."""

    PROCESSING = "PROCESSING"
    REQUIRES_PAYMENT_METHOD = "REQUIRES_PAYMENT_METHOD"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    REQUIRES_CAPTURE = "REQUIRES_CAPTURE"
    SUCCEEDED = "SUCCEEDED"
    CANCELLED = "CANCELLED"


PAYABLE = frozenset({Status.REQUIRES_PAYMENT_METHOD, Status.REQUIRES_ACTION})
FINAL = frozenset({Status.SUCCEEDED, Status.CANCELLED})


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back; named once by the booking's step, so never given twice."""

    refund_id: str
    step: str
    amount: Money
    status: RefundStatus
    reason: str
    create_time: datetime
    update_time: datetime
    attempt_time: datetime
    provider_refund_id: str | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """One step's payment of a booking, as we know it; it may take several attempts."""

    payment_id: str
    tenant_id: str
    booking_id: str
    step: str
    user_id: str
    vendor_id: str
    amount: Money
    manual_capture: bool
    status: Status
    captured: Money
    create_time: datetime
    update_time: datetime
    attempt_time: datetime  # when the provider was last asked to begin it
    version: int = 1
    fee: Money | None = None
    last_error: str = ""
    provider_intent_id: str | None = None
    provider_charge_id: str = ""
    attempt: int = 0  # rises when the provider's answer to a key is useless for ever
    refunds: tuple[Refund, ...] = ()  # oldest first
    cancel_wanted: bool = False  # the booking is over: whatever is still open is to be cancelled

    @property
    def refunded(self) -> Money:
        """What was given back; pending refunds count."""
        given = (refund.amount for refund in self.refunds if refund.status is not RefundStatus.FAILED)
        return sum(given, Money.zero(self.amount.currency))

    @property
    def refundable(self) -> Money:
        """What is left to give back."""
        return self.captured - self.refunded

    @property
    def refunded_at_provider(self) -> Money:
        """The part of `refunded` that the provider has confirmed."""
        known = (
            refund.amount
            for refund in self.refunds
            if refund.provider_refund_id and refund.status is not RefundStatus.FAILED
        )
        return sum(known, Money.zero(self.amount.currency))

    def refund_of(self, step: str) -> Refund | None:
        """The refund that a step already has."""
        return next((refund for refund in self.refunds if refund.step == step), None)

    def is_quiet(self, at: datetime) -> bool:
        """Whether nothing that we asked of the provider can still be under way."""
        return at - self.attempt_time >= QUIET


@dataclass(frozen=True, slots=True)
class ProviderIntent:
    """The provider's object for a payment, as it was when it was read."""

    intent_id: str
    status: Status
    captured: Money
    refunded: Money
    fee: Money | None = None
    last_error: str = ""
    charge_id: str = ""
    client_secret: str = ""

    def __repr__(self) -> str:
        return f"ProviderIntent({self.intent_id}, {self.status})"  # the client secret stays out of logs


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """The provider's object for a refund."""

    provider_refund_id: str
    status: RefundStatus
    amount: Money
    refund_id: str = ""  # ours, when we asked for it


@dataclass(frozen=True, slots=True)
class PaymentSucceeded:
    """The money is captured."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class PaymentAttemptFailed:
    """An attempt failed; the payment stays payable."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class PaymentCancelled:
    """The payment was cancelled before anything was captured."""

    payment: Payment


@dataclass(frozen=True, slots=True)
class RefundUpdated:
    """A refund was asked for, given back, or failed."""

    payment: Payment
    refund: Refund


Fact = PaymentSucceeded | PaymentAttemptFailed | PaymentCancelled | RefundUpdated


@dataclass(frozen=True, slots=True)
class Change:
    """A payment's next version with everything that must be stored together with it."""

    payment: Payment
    refunds: tuple[Refund, ...] = ()  # those that are new or changed
    entries: tuple[Entry, ...] = ()
    facts: tuple[Fact, ...] = ()
    check_time: datetime | None = None

    @property
    def expected_version(self) -> int:
        """The version that must still be the stored one."""
        return self.payment.version - 1


def follow(payment: Payment, intent: ProviderIntent, at: datetime) -> Change | None:
    """The payment after what the provider says of it; None when that is nothing new. It never goes backwards."""
    status = intent.status
    if payment.status is Status.SUCCEEDED or (payment.status is Status.CANCELLED and status is not Status.SUCCEEDED):
        status = payment.status
    captured = max(payment.captured, intent.captured)
    failed = status is Status.REQUIRES_PAYMENT_METHOD and intent.last_error != ""
    after = replace(
        payment,
        status=status,
        captured=captured,
        fee=payment.fee or (intent.fee if captured.minor else None),
        last_error=intent.last_error if failed else payment.last_error if status is Status.CANCELLED else "",
        provider_intent_id=intent.intent_id,
        provider_charge_id=intent.charge_id or payment.provider_charge_id,
    )
    if after == payment:
        return None
    entries: list[Entry] = []
    if captured > payment.captured:
        entries.append(capture_entry(payment.vendor_id, captured - payment.captured))
    if after.fee is not None and payment.fee is None and after.fee.minor:
        entries.append(fee_entry(after.fee))
    change = _changed(after, at, entries=tuple(entries))
    if status is Status.SUCCEEDED and payment.status is not Status.SUCCEEDED:
        return replace(change, facts=(PaymentSucceeded(change.payment),))
    if status is Status.CANCELLED and payment.status is not Status.CANCELLED:
        return replace(change, facts=(PaymentCancelled(change.payment),))
    if failed:
        return replace(change, facts=(PaymentAttemptFailed(change.payment),))
    return change


def begin_again(payment: Payment, at: datetime) -> Change:
    """Gives up the provider's useless answer; the next call there goes by a new key."""
    return _changed(replace(payment, attempt=payment.attempt + 1, attempt_time=at), at)


def attempted(payment: Payment, at: datetime) -> Change:
    """Notes that the provider is being asked again, before it is."""
    return _changed(replace(payment, attempt_time=at), at)


def give_up_start(payment: Payment, error: str, at: datetime) -> Change:
    """Ends a payment of which the provider has nothing: it was refused there, or cancelled in time."""
    change = _changed(replace(payment, status=Status.CANCELLED, last_error=error), at)
    return replace(change, facts=(PaymentCancelled(change.payment),))


def ask_refund(payment: Payment, refund_id: str, step: str, amount: Money, reason: str, at: datetime) -> Change:
    """Promises money back; the provider is asked once this is stored."""
    if payment.status is not Status.SUCCEEDED:
        raise PaymentStateInvalid(status=payment.status)
    if amount.currency != payment.amount.currency or amount > payment.refundable:
        raise RefundExceedsPayment(refundable=str(payment.refundable))
    refund = Refund(refund_id, step, amount, RefundStatus.PENDING, reason, at, at, at)
    return _with_refund(payment, refund, at)


def follow_refund(payment: Payment, refund: Refund, given: ProviderRefund, at: datetime) -> Change | None:
    """The payment after what the provider says of one refund; None when that is nothing new."""
    if refund.status is RefundStatus.FAILED:  # final: a failed refund never comes back to life
        return None
    after = replace(refund, status=given.status, provider_refund_id=given.provider_refund_id, update_time=at)
    if refund.status is RefundStatus.SUCCEEDED and given.status is RefundStatus.PENDING:
        after = replace(after, status=RefundStatus.SUCCEEDED)
    if replace(after, update_time=refund.update_time) == refund:
        return None
    entries: list[Entry] = []
    if refund.provider_refund_id is None:
        entries.append(refund_entry(payment.vendor_id, refund.amount, refund.refund_id))
    if after.status is RefundStatus.FAILED:
        entries.append(refund_failure_entry(payment.vendor_id, refund.amount, refund.refund_id))
    change = _with_refund(payment, after, at, tuple(entries))
    # That the provider has taken it on is no news to anybody else.
    return change if after.status is not refund.status else replace(change, facts=())


def refuse_refund(payment: Payment, refund: Refund, at: datetime) -> Change:
    """Ends a refund that the provider does not take: nothing has moved; an operator must look."""
    return _with_refund(payment, replace(refund, status=RefundStatus.FAILED, update_time=at), at)


def ask_refund_again(payment: Payment, refund: Refund, at: datetime) -> Change:
    """Gives up the provider's useless answer to a refund; the next call goes by a new key."""
    again = replace(refund, attempt=refund.attempt + 1, attempt_time=at)
    return replace(_with_refund(payment, again, at), facts=())


def adopt_refund(payment: Payment, refund_id: str, given: ProviderRefund, at: datetime) -> Change:
    """Takes over a refund that somebody gave at the provider itself: its money has moved, so the ledger says so."""
    step = f"provider-{given.provider_refund_id}"
    refund = Refund(
        refund_id, step, given.amount, given.status, "provider", at, at, at, provider_refund_id=given.provider_refund_id
    )
    entries = [refund_entry(payment.vendor_id, given.amount, refund_id)]
    if given.status is RefundStatus.FAILED:
        entries.append(refund_failure_entry(payment.vendor_id, given.amount, refund_id))
    return _with_refund(payment, refund, at, tuple(entries))


def next_check(payment: Payment, at: datetime) -> datetime | None:
    """When to ask the provider by ourselves, should nobody tell us sooner."""
    if any(refund.status is RefundStatus.PENDING and not refund.provider_refund_id for refund in payment.refunds):
        return at + FIRST_CHECK
    if payment.status is Status.PROCESSING or (payment.cancel_wanted and payment.status not in FINAL):
        return at + FIRST_CHECK
    waiting = payment.status not in FINAL or (payment.status is Status.SUCCEEDED and payment.fee is None)
    if waiting or any(refund.status is RefundStatus.PENDING for refund in payment.refunds):
        return at + PAYER_CHECK
    return None


def _with_refund(payment: Payment, refund: Refund, at: datetime, entries: tuple[Entry, ...] = ()) -> Change:
    others = tuple(other for other in payment.refunds if other.refund_id != refund.refund_id)
    refunds = tuple(sorted((*others, refund), key=lambda one: (one.create_time, one.refund_id)))
    change = _changed(replace(payment, refunds=refunds), at, entries=entries)
    return replace(change, refunds=(refund,), facts=(RefundUpdated(change.payment, refund),))


def _changed(payment: Payment, at: datetime, *, entries: tuple[Entry, ...] = ()) -> Change:
    after = replace(payment, version=payment.version + 1, update_time=max(at, payment.update_time))
    return Change(payment=after, entries=entries, check_time=next_check(after, at))
