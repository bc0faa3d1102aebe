"""Booking's outside world in memory: a store, an inventory and a payment service that keep the real ones' promises."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.booking.domain import (
    TRANSITIONS,
    Booking,
    Charge,
    Fact,
    HoldEnded,
    Item,
    Order,
    PaymentStatus,
    PaymentTokenInvalid,
    Policy,
    PricedItem,
    PriceKind,
    PriceLine,
    Refund,
    RefundStatus,
    SlotTaken,
    Status,
    Transition,
    fact_of,
)
from services.booking.ports import Held, Listed, Mandate, News, Ports, Repeated, Stale, Times, Window
from services.chassis.clock import FixedClock
from services.chassis.errors import IdempotencyKeyReused, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money

START = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
TENANT = new_id("ten", at=START, shard=1)
VENDOR = new_id("vnd", at=START, shard=7)
RESOURCE = new_id("res", at=START, shard=7)
PRICE = Money("EUR", 15_001)
BEGIN = START + timedelta(days=30)

# What the tokens of the fake provider do.
PAYS = "pm_pays"
DECLINES = "pm_declines"
NEEDS_ACTION = "pm_needs_action"
UNKNOWN = "pm_unknown"

Turn = Callable[[], Awaitable[None]]


@types.coroutine
def turn() -> Generator[None]:
    """Where another task may go on: before and after each effect on the outside world."""
    yield


async def no_turn() -> None:
    """Go on at once."""


class FakeBookings:
    """Bookings in memory, with the transactions' promises: all or nothing, one winner for each version."""

    def __init__(self, turn: Turn = no_turn) -> None:
        self.rows: dict[str, Booking] = {}
        self.keys: dict[tuple[str, str, str, str], tuple[bytes, str]] = {}
        self.transitions: dict[str, list[Transition]] = {}
        self.facts: list[Fact] = []
        self.taken: set[str] = set()
        self._turn = turn

    async def add(self, booking: Booking, key: IdempotencyKey | None) -> str:
        await self._turn()
        if key is not None and (found := self._find(key)) is not None:
            await self._turn()
            return found
        if key is not None:
            self.keys[_key(key)] = (key.request_hash, booking.booking_id)
        self._write(None, booking)
        await self._turn()
        return booking.booking_id

    async def get(self, tenant_id: str, booking_id: str) -> Booking | None:
        await self._turn()
        booking = self.rows.get(booking_id)
        return booking if booking is not None and booking.tenant_id == tenant_id else None

    async def save(
        self, before: Booking, after: Booking, *, key: IdempotencyKey | None = None, news: News | None = None
    ) -> Booking:
        await self._turn()
        if (key is not None and self._find(key) is not None) or (news is not None and news.event_id in self.taken):
            raise Repeated
        if self.rows[before.booking_id].version != before.version:
            raise Stale
        if key is not None:
            self.keys[_key(key)] = (key.request_hash, before.booking_id)
        if news is not None:
            self.taken.add(news.event_id)
        saved = replace(after, version=before.version + 1)
        self._write(before, saved)
        if saved.failure is not None:
            self.keys = {name: found for name, found in self.keys.items() if found[1] != saved.booking_id}
        await self._turn()
        return saved

    async def first_use(self, key: IdempotencyKey) -> str | None:
        await self._turn()
        return self._find(key)

    async def take_note(self, tenant_id: str, news: News) -> None:
        await self._turn()
        if news.event_id in self.taken:
            raise Repeated
        self.taken.add(news.event_id)

    async def take_over(self, booking: Booking, now: datetime, lease: datetime) -> Booking | None:
        await self._turn()
        row = self.rows[booking.booking_id]
        if row.version != booking.version or row.run_time is None or row.run_time > now:
            return None
        self.rows[booking.booking_id] = replace(row, run_time=lease, attempts=row.attempts + 1)
        return self.rows[booking.booking_id]

    async def postpone(self, booking: Booking, run_time: datetime) -> None:
        await self._turn()
        row = self.rows[booking.booking_id]
        if row.version == booking.version:
            self.rows[booking.booking_id] = replace(row, run_time=run_time)

    async def take_due(self, now: datetime, lease: datetime, limit: int) -> list[Booking]:
        due = [row for row in self.rows.values() if row.run_time is not None and row.run_time <= now]
        due.sort(key=lambda row: row.run_time or now)
        taken = [replace(row, run_time=lease, attempts=row.attempts + 1) for row in due[:limit]]
        self.rows.update({row.booking_id: row for row in taken})
        return taken

    async def of_user(self, tenant_id: str, user_id: str, status: Status | None, window: Window) -> Listed:
        return self._list(lambda row: (row.tenant_id, row.user_id) == (tenant_id, user_id), status, window)

    async def of_vendor(self, tenant_id: str, vendor_id: str, status: Status | None, window: Window) -> Listed:
        return self._list(lambda row: (row.tenant_id, row.vendor_id) == (tenant_id, vendor_id), status, window)

    async def history(self, tenant_id: str, booking_id: str) -> tuple[Transition, ...]:
        return tuple(self.transitions[booking_id]) if await self.get(tenant_id, booking_id) else ()

    def _find(self, key: IdempotencyKey) -> str | None:
        found = self.keys.get(_key(key))
        if found is None:
            return None
        if found[0] != key.request_hash:
            raise IdempotencyKeyReused
        return found[1]

    def _write(self, before: Booking | None, after: Booking) -> None:
        fact = fact_of(before, after)
        if fact is not None:
            change = (before.status if before else None, after.status)
            assert change in TRANSITIONS, change
            transition = Transition(*change, after.update_time, after.status_actor, after.status_reason)
            self.transitions.setdefault(after.booking_id, []).append(transition)
            self.facts.append(fact)
        free = after.total is not None and not after.total.minor
        if after.status is Status.CONFIRMED:
            assert after.payment_status is PaymentStatus.SUCCEEDED or free
        self.rows[after.booking_id] = after

    def _list(self, mine: Callable[[Booking], bool], status: Status | None, window: Window) -> Listed:
        found = sorted(
            (row for row in self.rows.values() if mine(row) and status in {None, row.status}),
            key=lambda row: row.booking_id,
            reverse=True,
        )
        rest = [row for row in found if not window.after or row.booking_id < window.after][window.skip :]
        return Listed(tuple(rest[: window.limit]), len(found), more=len(rest) > window.limit)


@dataclass(slots=True)
class FakeHold:
    """Units kept, or the memory that none are to be kept."""

    status: str  # HELD, POSTED, VOIDED, CANCELLED
    quantity: int
    expire_time: datetime
    held: Held | None


class FakeInventory:
    """One resource with counted capacity. Holds end by time, and a void is remembered."""

    def __init__(self, clock: FixedClock, capacity: int = 5, turn: Turn = no_turn, price: Money = PRICE) -> None:
        self.clock = clock
        self.capacity = capacity
        self.price = price
        self.policy = Policy.FLEXIBLE
        self.holds: dict[tuple[str, str], FakeHold] = {}
        self.calls: list[str] = []
        self.trouble: dict[str, BaseException] = {}  # what the next such call meets
        self._turn = turn

    async def place(self, mandate: Mandate, step: str, order: Order, ttl: timedelta) -> Held:
        await self._begin("place")
        name = (mandate.booking_id, step)
        found = self.holds.get(name)
        if found is None:
            items = tuple(priced(item, self.price, self.policy) for item in order.items or (Item(RESOURCE),))
            quantity = sum(sold.item.quantity for sold in items)
            if self.used() + quantity > self.capacity:
                raise SlotTaken(resourceId=RESOURCE, available=str(self.capacity - self.used()))
            held = Held(items, sum((sold.total for sold in items[1:]), start=items[0].total))
            found = self.holds[name] = FakeHold("HELD", quantity, self.clock.now() + ttl, held)
        await self._turn()
        if found.held is None or not self._counts(found):
            raise HoldEnded
        return found.held

    async def post(self, mandate: Mandate, step: str) -> None:
        await self._begin("post")
        found = self.holds.get((mandate.booking_id, step))
        if found is None or not self._counts(found):
            raise HoldEnded
        found.status = "POSTED"
        await self._turn()

    async def void(self, mandate: Mandate, step: str) -> None:
        await self._begin("void")
        found = self.holds.setdefault((mandate.booking_id, step), FakeHold("VOIDED", 0, self.clock.now(), None))
        if found.status == "POSTED":
            raise HoldEnded
        if found.status == "HELD":
            found.status = "VOIDED"
        await self._turn()

    async def cancel_posted(self, mandate: Mandate, step: str) -> None:
        await self._begin("cancel_posted")
        found = self.holds.get((mandate.booking_id, step))
        if found is None or found.status not in {"POSTED", "CANCELLED"}:
            raise HoldEnded
        found.status = "CANCELLED"
        await self._turn()

    def used(self) -> int:
        """Units that nobody else can have now."""
        return sum(hold.quantity for hold in self.holds.values() if self._counts(hold))

    def _counts(self, hold: FakeHold) -> bool:
        return hold.status == "POSTED" or (hold.status == "HELD" and self.clock.now() < hold.expire_time)

    async def _begin(self, call: str) -> None:
        if call in self.trouble:
            raise self.trouble.pop(call)
        self.calls.append(call)
        await self._turn()


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


class FakePatience:
    """A call with so many seconds left, which pass only while it waits."""

    def __init__(self, seconds: float | None = None, turn: Turn = no_turn) -> None:
        self.seconds = seconds
        self._turn = turn

    def remaining(self) -> float | None:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        if self.seconds is not None:
            self.seconds -= seconds
        await self._turn()


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside, and the use cases' door to it."""

    clock: FixedClock
    bookings: FakeBookings
    inventory: FakeInventory
    payments: FakePayments
    ports: Ports
    wakes: list[None]


def new_world(*, capacity: int = 5, turn: Turn = no_turn, seconds: float | None = 10.0) -> World:
    """A world at START, in which nothing has happened."""
    clock = FixedClock(START)
    wakes: list[None] = []
    bookings, inventory = FakeBookings(turn), FakeInventory(clock, capacity, turn)
    payments = FakePayments(clock, turn)
    ports = Ports(
        clock=clock,
        bookings=bookings,
        inventory=inventory,
        payments=payments,
        patience=FakePatience(seconds, turn),
        times=Times(payment_window=timedelta(minutes=15)),
        wake=lambda: wakes.append(None),
    )
    return World(clock, bookings, inventory, payments, ports, wakes)


def priced(item: Item, total: Money = PRICE, policy: Policy = Policy.FLEXIBLE, begin: datetime = BEGIN) -> PricedItem:
    """The item as inventory would sell it."""
    line = PriceLine(PriceKind.UNIT, item.quantity, total, total)
    return PricedItem(
        item, VENDOR, "Harbour Hotel", "Europe/Berlin", begin, begin + timedelta(days=2), (line,), total, policy
    )


def _charge(intent: FakeIntent, *, secret: bool = False) -> Charge:
    open_ = intent.status not in {PaymentStatus.SUCCEEDED, PaymentStatus.CANCELLED}
    return Charge(
        payment_id=intent.payment_id,
        status=intent.status,
        version=intent.version,
        last_error=intent.last_error,
        refunds=tuple(intent.refunds.values()),
        client_secret=f"{intent.payment_id}_secret" if secret and open_ else "",
    )


def _key(key: IdempotencyKey) -> tuple[str, str, str, str]:
    return key.tenant_id, key.principal, key.method, key.key
