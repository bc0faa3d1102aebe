"""Fakes of payment's ports: rows in dictionaries, and a provider that charges, declines, forgets to answer and lies."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.chassis.clock import FixedClock
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.payment.domain.ledger import AccountKind, Entry
from services.payment.domain.payments import (
    FINAL,
    Change,
    Fact,
    Payment,
    PaymentTokenInvalid,
    ProviderIntent,
    ProviderRefund,
    Refund,
    RefundStatus,
    SignatureInvalid,
    Status,
)
from services.payment.ports import (
    AmountRefused,
    AnswerUseless,
    OutcomeUnknown,
    Ports,
    ProviderEvent,
    RefundRefused,
    Saved,
    WaitingEvent,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = "ten_01kdwcj2m0f5k8xwatxbn3cw00"
USER = "usr_01kdwcj2m1f1xvax08t1tcm835"
VENDOR = "vnd_01kdwcj2m4e28bt3ghmcnm09d1"
BOOKING_SERVICE = Principal("service", TENANT, "booking", on_behalf_of=USER)


def booking_id() -> str:
    return new_id("bkg", at=START, shard=17)


class FakePayments:
    """The payments port."""

    def __init__(self) -> None:
        self.rows: dict[str, Payment] = {}
        self.over: dict[tuple[str, str], datetime] = {}
        self.facts: list[Fact] = []
        self.entries: list[tuple[str, Entry]] = []
        self.claims: dict[tuple[str, str, str, str], tuple[bytes, str]] = {}
        self.before_save: deque[Change] = deque()  # what others store just before us

    async def start(self, payment: Payment) -> Payment:
        over = (payment.tenant_id, payment.booking_id) in self.over
        for row in self.rows.values():
            if (row.booking_id, row.step) == (payment.booking_id, payment.step):
                return replace(row, cancel_wanted=over)
        self.rows[payment.payment_id] = replace(payment, status=Status.CANCELLED) if over else payment
        return self.rows[payment.payment_id]

    async def get(self, tenant_id: str, payment_id: str) -> Payment | None:
        row = self.rows.get(payment_id)
        if row is None or row.tenant_id != tenant_id:
            return None
        return replace(row, cancel_wanted=(tenant_id, row.booking_id) in self.over)

    async def of_booking(self, tenant_id: str, booking_id: str) -> list[Payment]:
        found = [
            await self.get(tenant_id, row.payment_id) for row in self.rows.values() if row.booking_id == booking_id
        ]
        return sorted((row for row in found if row is not None), key=lambda row: (row.create_time, row.payment_id))

    async def cancel_booking(self, tenant_id: str, booking_id: str, at: datetime) -> list[Payment]:
        self.over.setdefault((tenant_id, booking_id), at)
        return await self.of_booking(tenant_id, booking_id)

    async def reopen_booking(self, tenant_id: str, booking_id: str) -> None:
        self.over.pop((tenant_id, booking_id), None)

    async def save(self, change: Change) -> Saved:
        if self.before_save:
            await self.save(self.before_save.popleft())
        payment = change.payment
        stored = self.rows[payment.payment_id]
        wanted = (payment.tenant_id, payment.booking_id) in self.over
        if stored.version != change.expected_version:
            return Saved(False, wanted)
        kinds = [(entry.kind, entry.refund_id) for owner, entry in self.entries if owner == payment.payment_id]
        for entry in change.entries:
            assert (entry.kind, entry.refund_id) not in kinds, "each kind of entry is made once"
        assert payment.captured >= stored.captured
        assert payment.refunded <= payment.captured
        self.rows[payment.payment_id] = payment
        self.facts += change.facts
        self.entries += [(payment.payment_id, entry) for entry in change.entries]
        return Saved(True, wanted)

    async def refund_claim(self, key: IdempotencyKey, refund_id: str, at: datetime) -> str:
        name = (key.tenant_id, key.principal, key.method, key.key)
        request, resource = self.claims.setdefault(name, (key.request_hash, refund_id))
        if request != key.request_hash:
            raise IdempotencyKeyReused
        return resource

    def balance(self, kind: AccountKind) -> int:
        lines = (line for _, entry in self.entries for line in entry.lines if line.account is kind)
        return sum(line.amount.minor for line in lines)


@dataclass
class Card:
    """One intent at the fake provider."""

    payment: Payment
    intent: ProviderIntent
    refunds: list[ProviderRefund] = field(default_factory=list)


class FakeProvider:
    """The provider port. `faults` says how the next calls end: "lost" took effect but is not answered, "dead" neither,
    "useless" took effect and answers an error for ever, "useless_dead" the same without effect."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self.answers: dict[str, str] = {}  # by key: an intent's id, or "useless"
        self.faults: deque[str] = deque()
        self.calls: list[str] = []
        self.charges = 0
        self.refunds_fail = False

    async def create(self, payment: Payment, token: str) -> ProviderIntent:
        key = f"{payment.booking_id}:{payment.step}:{payment.attempt}"
        self.calls.append("create")
        return self._once(key, lambda: self._create(payment, token))

    async def confirm(self, payment: Payment, attempt: str, token: str) -> ProviderIntent:
        self.calls.append("confirm")
        intent_id = payment.provider_intent_id or ""
        return self._once(f"{intent_id}:{attempt}", lambda: self._pay(intent_id, token))

    async def fetch(self, payment: Payment) -> ProviderIntent | None:
        self.calls.append("fetch")
        if payment.provider_intent_id:
            return self.cards[payment.provider_intent_id].intent
        ours = [card.intent for card in self.cards.values() if card.payment.payment_id == payment.payment_id]
        return ours[-1] if ours else None

    async def cancel(self, payment: Payment) -> ProviderIntent:
        self.calls.append("cancel")
        card = self.cards[payment.provider_intent_id or ""]
        if card.intent.status is not Status.SUCCEEDED:
            card.intent = replace(card.intent, status=Status.CANCELLED)
        return card.intent

    async def refund(self, payment: Payment, refund: Refund) -> ProviderRefund:
        self.calls.append("refund")
        card = self.cards[payment.provider_intent_id or ""]
        fault = self.faults.popleft() if self.faults else ""
        if self.answers.get(f"{refund.refund_id}:{refund.attempt}") == "useless":
            raise AnswerUseless
        if fault == "dead":
            raise OutcomeUnknown
        if fault == "useless_dead":
            self.answers[f"{refund.refund_id}:{refund.attempt}"] = "useless"
            raise AnswerUseless
        known = [one for one in card.refunds if one.refund_id == refund.refund_id]
        if not known:
            left = card.intent.captured - card.intent.refunded
            if refund.amount > left:
                raise RefundRefused
            known = [self.refund_at_provider(payment, refund.amount, refund.refund_id)]
        if fault == "lost":
            raise OutcomeUnknown
        return known[0]

    async def refunds(self, payment: Payment) -> list[ProviderRefund]:
        return list(self.cards[payment.provider_intent_id or ""].refunds)

    def read_event(self, payload: bytes, signature: str) -> ProviderEvent:
        if signature != "signed":
            raise SignatureInvalid
        event_id, event_type, intent_id, payment_id = payload.decode().split(" ")
        return ProviderEvent(event_id, event_type, intent_id, intent_id, payment_id, START)

    def refund_at_provider(self, payment: Payment, amount: Money, refund_id: str = "") -> ProviderRefund:
        """Somebody gives money back: we by our call, or a person in the provider's dashboard."""
        card = self.cards[payment.provider_intent_id or ""]
        given = ProviderRefund(
            f"re_{len(card.refunds)}_{payment.payment_id}", RefundStatus.SUCCEEDED, amount, refund_id
        )
        card.refunds.append(given)
        card.intent = replace(card.intent, refunded=card.intent.refunded + amount)
        return given

    def authenticate(self, payment: Payment, *, success: bool = True) -> None:
        """The payer ends 3-D Secure."""
        card = self.cards[payment.provider_intent_id or ""]
        card.intent = self._charged(card) if success else self._declined(card, "authentication_failure")

    def _once(self, key: str, act: object) -> ProviderIntent:
        assert callable(act)
        saved = self.answers.get(key)
        if saved == "useless":
            raise AnswerUseless
        if saved is not None:
            return self.cards[saved].intent
        fault = self.faults.popleft() if self.faults else ""
        if fault == "dead":
            raise OutcomeUnknown
        if fault == "useless_dead":
            self.answers[key] = "useless"
            raise AnswerUseless
        intent: ProviderIntent = act()
        self.answers[key] = "useless" if fault == "useless" else intent.intent_id
        if fault == "useless":
            raise AnswerUseless
        if fault == "lost":
            raise OutcomeUnknown
        return intent

    def _create(self, payment: Payment, token: str) -> ProviderIntent:
        if token == "pm_unknown":
            raise PaymentTokenInvalid
        if payment.amount.minor < 50:
            raise AmountRefused
        zero = Money.zero(payment.amount.currency)
        intent_id = f"pi_{len(self.cards)}"
        fresh = ProviderIntent(intent_id, Status.REQUIRES_PAYMENT_METHOD, zero, zero, client_secret=f"{intent_id}_s")
        self.cards[intent_id] = Card(payment, fresh)
        return self._pay(intent_id, token) if token else fresh

    def _pay(self, intent_id: str, token: str) -> ProviderIntent:
        card = self.cards[intent_id]
        if card.intent.status in FINAL:
            raise OutcomeUnknown
        match token:
            case "pm_unknown":
                raise PaymentTokenInvalid
            case "pm_declines":
                card.intent = self._declined(card, "card_declined")
            case "pm_3ds":
                card.intent = replace(card.intent, status=Status.REQUIRES_ACTION, last_error="")
            case _:
                card.intent = self._charged(card)
        return card.intent

    def _declined(self, card: Card, error: str) -> ProviderIntent:
        self.charges += 1
        charge_id = f"ch_{self.charges}"
        return replace(card.intent, status=Status.REQUIRES_PAYMENT_METHOD, last_error=error, charge_id=charge_id)

    def _charged(self, card: Card) -> ProviderIntent:
        self.charges += 1
        if card.payment.manual_capture:
            return replace(card.intent, status=Status.REQUIRES_CAPTURE, charge_id=f"ch_{self.charges}", last_error="")
        amount = card.payment.amount
        return replace(
            card.intent,
            status=Status.SUCCEEDED,
            captured=amount,
            fee=Money(amount.currency, 30),
            last_error="",
            charge_id=f"ch_{self.charges}",
        )


class FakeEvents:
    """The provider events port."""

    def __init__(self, payments: FakePayments) -> None:
        self.rows: dict[str, tuple[ProviderEvent, str]] = {}
        self._payments = payments

    async def keep(self, event: ProviderEvent, at: datetime, *, relevant: bool) -> datetime | None:
        if event.event_id in self.rows:
            return None
        self.rows[event.event_id] = (event, "WAITING" if relevant else "KEPT")
        return at if relevant else None

    async def lease(self, at: datetime, limit: int) -> list[WaitingEvent]:
        waiting = [event for event, state in self.rows.values() if state == "WAITING"][:limit]
        return [self._waiting(event) for event in waiting]

    async def settle(self, event_ids: list[str], at: datetime) -> None:
        for event_id in event_ids:
            self.rows[event_id] = (self.rows[event_id][0], "APPLIED")

    def _waiting(self, event: ProviderEvent) -> WaitingEvent:
        for row in self._payments.rows.values():
            if row.payment_id == event.payment_id or row.provider_intent_id == event.intent_id:
                return WaitingEvent(event.event_id, event.type, row.tenant_id, row.payment_id)
        return WaitingEvent(event.event_id, event.type, "", "")


@dataclass
class World:
    """All fakes, and the ports over them."""

    payments: FakePayments
    provider: FakeProvider
    events: FakeEvents
    clock: FixedClock
    ports: Ports


def new_world() -> World:
    payments, provider, clock = FakePayments(), FakeProvider(), FixedClock(START)
    events = FakeEvents(payments)
    return World(payments, provider, events, clock, Ports(payments, provider, events, clock))
