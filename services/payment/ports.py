"""What the use cases need from outside: stored payments, provider events, the provider, and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from services.chassis.clock import Clock
from services.chassis.idempotency.key import IdempotencyKey
from services.payment.domain.payments import Change, Payment, ProviderIntent, ProviderRefund, Refund


class OutcomeUnknown(Exception):
    """The provider may or may not have done what it was asked."""


class AnswerUseless(OutcomeUnknown):
    """The provider has saved an error for this key: asking again by the same key says the same for ever."""


class AmountRefused(Exception):
    """The provider does not take this amount or currency."""


class RefundRefused(Exception):
    """The provider does not give this money back, and has moved nothing."""


class Saved(NamedTuple):
    """What became of a change."""

    stored: bool  # False: somebody else changed the payment first
    cancel_wanted: bool = False


class Payments(Protocol):
    """Payments with their refunds, ledger entries and facts: all of a change is stored, or nothing."""

    async def start(self, payment: Payment) -> Payment:
        """Stores a new payment, CANCELLED when its booking was cancelled before; answers the step's earlier one if
        there is one."""
        ...

    async def get(self, tenant_id: str, payment_id: str) -> Payment | None:
        """One payment."""
        ...

    async def of_booking(self, tenant_id: str, booking_id: str) -> list[Payment]:
        """A booking's payments, oldest first."""
        ...

    async def cancel_booking(self, tenant_id: str, booking_id: str, at: datetime) -> list[Payment]:
        """Remembers that the booking is over, also when it has no payment yet; answers its payments."""
        ...

    async def reopen_booking(self, tenant_id: str, booking_id: str) -> None:
        """Forgets that the booking was over: it turned out to be paid."""
        ...

    async def save(self, change: Change) -> Saved:
        """Stores a change, provided that nobody else changed the payment since it was read."""
        ...

    async def refund_claim(self, key: IdempotencyKey, refund_id: str, at: datetime) -> str:
        """The refund that this key stands for: `refund_id` where it is new; raises IdempotencyKeyReused."""
        ...


class ProviderEvent(NamedTuple):
    """What we keep of a provider's event: what to look at, not what it says; the object itself is asked for."""

    event_id: str
    type: str
    object_id: str
    intent_id: str  # empty when it is about none
    payment_id: str  # ours, when the provider's object carries it
    create_time: datetime


class WaitingEvent(NamedTuple):
    """A kept event whose turn has come; tenant and payment are empty while the payment is not known."""

    event_id: str
    type: str
    tenant_id: str
    payment_id: str


class ProviderEvents(Protocol):
    """The provider's events, each kept once."""

    async def keep(self, event: ProviderEvent, at: datetime, *, relevant: bool) -> datetime | None:
        """Keeps an event; returns when it is to be applied, None where nothing is to do or it was kept before."""
        ...

    async def lease(self, at: datetime, limit: int) -> list[WaitingEvent]:
        """Takes some that wait and whose turn has come; they come again unless they are settled."""
        ...

    async def settle(self, event_ids: list[str], at: datetime) -> None:
        """Marks events as applied."""
        ...


class DuePayment(NamedTuple):
    """A payment to ask the provider about."""

    tenant_id: str
    payment_id: str


class Duties(Protocol):
    """Payments that stand still."""

    async def lease(self, at: datetime, limit: int) -> list[DuePayment]:
        """Takes some whose check is due; they are due again later, each time after a longer pause."""
        ...


class Provider(Protocol):
    """The payment provider. A decline is an answer. Every call may raise DependencyUnavailable: ask again soon; those
    that move something raise OutcomeUnknown where no answer came in time."""

    async def create(self, payment: Payment, token: str) -> ProviderIntent:
        """Begins a payment, confirmed at once with a token; raises PaymentTokenInvalid, AmountRefused."""
        ...

    async def confirm(self, payment: Payment, attempt: str, token: str) -> ProviderIntent:
        """Tries a payment method once per attempt; raises PaymentTokenInvalid."""
        ...

    async def fetch(self, payment: Payment) -> ProviderIntent | None:
        """The provider's object: by its id, or found by ours; None when there is none."""
        ...

    async def cancel(self, payment: Payment) -> ProviderIntent:
        """Cancels; answers the object as it is when it cannot be cancelled any more."""
        ...

    async def refund(self, payment: Payment, refund: Refund) -> ProviderRefund:
        """Gives money back once per refund; raises RefundRefused."""
        ...

    async def refunds(self, payment: Payment) -> list[ProviderRefund]:
        """Every refund of a payment, oldest first."""
        ...

    def read_event(self, payload: bytes, signature: str) -> ProviderEvent:
        """A webhook's event; raises SignatureInvalid."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the use cases reach out to."""

    payments: Payments
    provider: Provider
    events: ProviderEvents
    clock: Clock
