"""Payment in memory, with a provider inside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from services.booking.domain import Charge, PaymentStatus, PaymentTokenInvalid, Refund, RefundStatus
from services.booking.ports import Mandate, News
from services.chassis.clock import FixedClock
from services.chassis.errors import NotFound
from services.chassis.ids import new_id
from services.chassis.money import Money
from tests.ports.booking.fakes.scene import PRICE, Turn, no_turn

# What the tokens of the fake provider do.
PAYS = "pm_pays"
DECLINES = "pm_declines"
NEEDS_ACTION = "pm_needs_action"
UNKNOWN = "pm_unknown"


@dataclass(slots=True)
class FakeIntent:
    """One booking's payment at the fake provider."""

    payment_id: str
    amount: Money
    status: PaymentStatus
    version: int = 1
    captured: int = 0
    last_error: str = ""
    attempts: set[str] = field(default_factory=set)
    refunds: dict[str, Refund] = field(default_factory=dict)


class FakePayments:
    """Payments with a provider inside: `events` holds what Kafka would carry, in the order it happened."""

    def __init__(self, clock: FixedClock, turn: Turn = no_turn) -> None:
        self.clock = clock
        self.intents: dict[str, FakeIntent] = {}
        self.events: list[tuple[str, Charge, News]] = []
        self.calls: list[str] = []
        self.trouble: dict[str, BaseException] = {}  # what the next such call meets
        self.refuses_refunds = False
        self._turn = turn

    async def start(self, mandate: Mandate, vendor_id: str, amount: Money, token: str) -> Charge:
        await self._begin("start")
        intent = self.intents.get(mandate.booking_id)
        if intent is None and token == UNKNOWN:
            intent = self._new(mandate.booking_id, amount, PaymentStatus.REQUIRES_PAYMENT_METHOD)
            self._move(mandate.booking_id, intent, PaymentStatus.CANCELLED, "PaymentCancelled")
            raise PaymentTokenInvalid
        if intent is None:
            intent = self._new(mandate.booking_id, amount, PaymentStatus.REQUIRES_PAYMENT_METHOD)
            self._confirm(mandate.booking_id, intent, "start", token)
        await self._turn()
        return _charge(intent, secret=True)

    async def attempt(self, mandate: Mandate, attempt: str, token: str) -> Charge:
        await self._begin("attempt")
        if token == UNKNOWN:
            raise PaymentTokenInvalid
        intent = self.intents[mandate.booking_id]
        self._confirm(mandate.booking_id, intent, attempt, token)
        await self._turn()
        return _charge(intent, secret=True)

    async def get(self, mandate: Mandate, *, refresh: bool) -> Charge:
        await self._begin("get")
        if mandate.booking_id not in self.intents:
            raise NotFound(resource="payment")
        return _charge(self.intents[mandate.booking_id], secret=True)

    async def cancel(self, mandate: Mandate, reason: str) -> Charge:
        await self._begin("cancel")
        intent = self.intents.get(mandate.booking_id)
        if intent is None:
            intent = self._new(mandate.booking_id, PRICE, PaymentStatus.CANCELLED)
        elif intent.status is not PaymentStatus.SUCCEEDED and intent.status is not PaymentStatus.CANCELLED:
            self._move(mandate.booking_id, intent, PaymentStatus.CANCELLED, "PaymentCancelled")
        await self._turn()
        return _charge(intent)

    async def refund(self, mandate: Mandate, step: str, amount: Money, reason: str) -> Charge | None:
        await self._begin("refund")
        if self.refuses_refunds:
            return None
        intent = self.intents[mandate.booking_id]
        if step not in intent.refunds:
            given = sum(refund.amount.minor for refund in intent.refunds.values())
            if intent.captured - given < amount.minor:
                return None
            refund_id = new_id("rfd", at=self.clock.now())
            intent.refunds[step] = Refund(refund_id, amount, RefundStatus.PENDING, reason)
            self._tell(mandate.booking_id, intent, "RefundUpdated")
        await self._turn()
        return _charge(intent)

    def pay(self, booking_id: str, token: str = PAYS) -> None:
        """The client pays at the provider, with the client secret."""
        intent = self.intents[booking_id]
        self._confirm(booking_id, intent, f"client {intent.version}", token)

    def settle(self, booking_id: str, status: RefundStatus = RefundStatus.SUCCEEDED) -> None:
        """The provider ends what refunds are pending."""
        intent = self.intents[booking_id]
        for step, refund in intent.refunds.items():
            if refund.status is RefundStatus.PENDING:
                intent.refunds[step] = replace(refund, status=status)
                self._tell(booking_id, intent, "RefundUpdated")

    def kept(self, booking_id: str) -> int:
        """What was captured and not given back."""
        intent = self.intents.get(booking_id)
        if intent is None:
            return 0
        return intent.captured - sum(refund.amount.minor for refund in intent.refunds.values())

    def _confirm(self, booking_id: str, intent: FakeIntent, attempt: str, token: str) -> None:
        payable = intent.status in {PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_ACTION}
        if not payable or attempt in intent.attempts or not token:
            return
        intent.attempts.add(attempt)
        if token == PAYS:
            intent.captured = intent.amount.minor
            intent.last_error = ""
            self._move(booking_id, intent, PaymentStatus.SUCCEEDED, "PaymentSucceeded")
        elif token == DECLINES:
            intent.last_error = "card_declined"
            self._move(booking_id, intent, PaymentStatus.REQUIRES_PAYMENT_METHOD, "PaymentAttemptFailed")
        else:
            intent.status = PaymentStatus.REQUIRES_ACTION
            intent.version += 1

    def _new(self, booking_id: str, amount: Money, status: PaymentStatus) -> FakeIntent:
        intent = FakeIntent(new_id("pay", at=self.clock.now()), amount, status)
        self.intents[booking_id] = intent
        return intent

    def _move(self, booking_id: str, intent: FakeIntent, status: PaymentStatus, event: str) -> None:
        intent.status = status
        self._tell(booking_id, intent, event)

    def _tell(self, booking_id: str, intent: FakeIntent, event: str) -> None:
        intent.version += 1
        news = News(new_id("evt", at=self.clock.now()), f"berth.payment.events.v1.{event}")
        self.events.append((booking_id, _charge(intent), news))

    async def _begin(self, call: str) -> None:
        if call in self.trouble:
            raise self.trouble.pop(call)
        self.calls.append(call)
        await self._turn()


def _charge(intent: FakeIntent, *, secret: bool = False) -> Charge:
    open_ = intent.status not in {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELLED}
    return Charge(
        payment_id=intent.payment_id,
        status=intent.status,
        version=intent.version,
        last_error=intent.last_error,
        refunds=tuple(intent.refunds.values()),
        client_secret=f"{intent.payment_id}_secret" if secret and open_ else "",
        paid=intent.amount if intent.status is PaymentStatus.SUCCEEDED else None,
    )
