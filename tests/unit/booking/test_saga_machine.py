"""The saga under everything at once: crashes, outages, races, late and repeated news, expiring holds, cancellations."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from services.booking.domain import Guest, Item, Order, RefundStatus, Status, Step
from services.booking.ports import Repeated
from services.booking.usecases import (
    AttemptPayment,
    CancelBooking,
    CreateBooking,
    attempt_payment,
    cancel_booking,
    create_booking,
    hear_payment,
    resume,
)
from services.chassis.errors import DependencyUnavailable, Refusal
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.ports.booking.fakes import (
    DECLINES,
    NEEDS_ACTION,
    PAYS,
    RESOURCE,
    START,
    TENANT,
    UNKNOWN,
    new_world,
    turn,
)

MAX_TASKS = 4  # at a time
MAX_TURNS = 2_000  # of one task: more means that it never ends
SETTLE_ROUNDS = 200

GUEST = Guest("Cara", "Customer", "cara@example.org")
CUSTOMER = Principal("user", TENANT, new_id("usr", at=START, shard=3))


@dataclass(slots=True)
class Task:
    """A call or a worker's run, somewhere between two effects."""

    name: str
    work: Coroutine[Any, Any, object]

    def go_on(self, error: BaseException | None = None) -> bool:
        """To the next turn; False when it has ended."""
        try:
            if error is None:
                self.work.send(None)
            else:
                self.work.throw(error)
        except (StopIteration, Refusal, Repeated):
            return False
        return True


class BookingMachine(RuleBasedStateMachine):
    """Draws an order of things; what must hold is checked when everything has come to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(capacity=2, turn=turn, seconds=5.0)
        self.tasks: list[Task] = []
        self.keys = 0

    # Calls and workers begin.

    @precondition(lambda self: len(self.tasks) < MAX_TASKS)
    @rule(token=st.sampled_from([PAYS, PAYS, "", DECLINES, NEEDS_ACTION, UNKNOWN]), key=st.integers(0, 2))
    def create(self, token: str, key: int) -> None:
        command = CreateBooking(Order(items=(Item(RESOURCE),)), GUEST, "credit_card", token)
        # Key 0 is no key; the same key always comes with the same request.
        claimed = IdempotencyKey(TENANT, "p", "create", f"{key} {token}", token.encode()) if key else None
        self._begin("create", create_booking(self.world.ports, CUSTOMER, command, claimed))

    @precondition(lambda self: len(self.tasks) < MAX_TASKS and self.world.bookings.rows)
    @rule(which=st.integers(0, 9), wanted=st.booleans(), keyed=st.booleans())
    def cancel(self, which: int, wanted: bool, keyed: bool) -> None:
        booking_id = self._some_booking(which)
        key = IdempotencyKey(TENANT, "p", "cancel", booking_id, b"") if keyed else None
        command = CancelBooking(booking_id, "changed plans", wanted)
        self._begin("cancel", cancel_booking(self.world.ports, CUSTOMER, command, key))

    @precondition(lambda self: len(self.tasks) < MAX_TASKS and self.world.bookings.rows)
    @rule(which=st.integers(0, 9), token=st.sampled_from([PAYS, DECLINES, UNKNOWN]), key=st.integers(1, 3))
    def attempt(self, which: int, token: str, key: int) -> None:
        booking_id = self._some_booking(which)
        claimed = IdempotencyKey(TENANT, "p", "attempt", f"{booking_id} {key} {token}", b"")
        command = AttemptPayment(booking_id, token)
        self._begin("attempt", attempt_payment(self.world.ports, CUSTOMER, command, claimed))

    @precondition(lambda self: len(self.tasks) < MAX_TASKS)
    @rule()
    def work(self) -> None:
        self._begin("work", self._resume_one())

    @precondition(lambda self: len(self.tasks) < MAX_TASKS and self.world.payments.events)
    @rule(which=st.integers(0, 30))
    def deliver(self, which: int) -> None:
        """Any event that ever happened, in any order, as often as it comes."""
        events = self.world.payments.events
        self._begin("deliver", self._deliver(which % len(events)))

    # Calls and workers go on, die, or meet an outage before or after an effect.

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, MAX_TASKS), turns=st.integers(1, 12))
    def go_on(self, which: int, turns: int) -> None:
        task = self.tasks[which % len(self.tasks)]
        for _ in range(turns):
            if not task.go_on():
                self.tasks.remove(task)
                return

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, MAX_TASKS))
    def crash(self, which: int) -> None:
        task = self.tasks.pop(which % len(self.tasks))
        task.work.close()

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, MAX_TASKS))
    def outage(self, which: int) -> None:
        task = self.tasks[which % len(self.tasks)]
        if not task.go_on(DependencyUnavailable("planted")):
            self.tasks.remove(task)

    # The world goes on.

    @rule(seconds=st.sampled_from([1, 5, 20, 120, 890, 1_100]))
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(timedelta(seconds=seconds))

    @precondition(lambda self: self.world.payments.intents)
    @rule(which=st.integers(0, 9), token=st.sampled_from([PAYS, PAYS, DECLINES]))
    def pay(self, which: int, token: str) -> None:
        intents = list(self.world.payments.intents)
        self.world.payments.pay(intents[which % len(intents)], token)

    @rule(capacity=st.integers(0, 2))
    def sell_elsewhere(self, capacity: int) -> None:
        self.world.inventory.capacity = capacity

    @rule(cents=st.sampled_from([0, 0, 500]))
    def change_price(self, cents: int) -> None:
        price = self.world.inventory.price
        self.world.inventory.price = replace(price, minor=15_001 + cents)

    # What must hold.

    def teardown(self) -> None:
        for task in self.tasks:
            self._finish(task)
        self.tasks.clear()
        self._settle()
        for booking_id in self.world.bookings.rows:
            self._check(booking_id)
        self._check_events()

    def _check(self, booking_id: str) -> None:
        world = self.world
        booking = world.bookings.rows[booking_id]
        kept = world.payments.kept(booking_id)
        states = [hold.status for (owner, _), hold in world.inventory.holds.items() if owner == booking_id]
        assert booking.step is Step.DONE, booking.step
        assert booking.status is not Status.PENDING
        assert booking.run_time is None
        assert not booking.payment_token
        if booking.status is Status.CONFIRMED:
            assert booking.total is not None
            assert booking.items
            assert booking.vendor_id
            assert kept == booking.total.minor
            (sold,) = [hold for hold in self._holds(booking_id) if hold.status == "POSTED"]
            assert sold.held.total == booking.total
            assert booking.refund_status is None
        else:
            assert "POSTED" not in states
            assert not any(world.inventory._counts(hold) for hold in self._holds(booking_id))
            due = 0
            if booking.confirm_time is not None and booking.total is not None:
                due = booking.total.minor - booking.refund_minor
            assert kept == due, (booking.status, kept, due)
            if booking.refund_minor:
                assert booking.refund_status is RefundStatus.SUCCEEDED
        if booking.status is Status.FAILED:
            assert booking.refund_minor == 0

    def _check_events(self) -> None:
        bookings = self.world.bookings
        for booking_id, transitions in bookings.transitions.items():
            facts = [fact for fact in bookings.facts if fact.booking.booking_id == booking_id]
            assert [fact.booking.status for fact in facts] == [transition.to_status for transition in transitions]
            versions = [fact.booking.version for fact in facts]
            assert versions == sorted(set(versions))
        for _, booking_id in bookings.keys.values():
            assert bookings.rows[booking_id].status is not Status.FAILED

    def _holds(self, booking_id: str) -> list[Any]:
        return [hold for (owner, _), hold in self.world.inventory.holds.items() if owner == booking_id]

    def _settle(self) -> None:
        """Let the worker run, the provider settle and all news arrive, until nothing moves."""
        for _ in range(SETTLE_ROUNDS):
            for booking_id in list(self.world.payments.intents):
                self.world.payments.settle(booking_id)
            for index in range(len(self.world.payments.events)):
                self._finish(Task("deliver", self._deliver(index)))
            while self._due():
                self._finish(Task("work", self._resume_one()))
            if all(row.run_time is None for row in self.world.bookings.rows.values()) and self._settled():
                return
            self.world.clock.advance(timedelta(seconds=30))
        raise AssertionError("The bookings do not come to rest.")

    def _settled(self) -> bool:
        pending = RefundStatus.PENDING
        intents = self.world.payments.intents.values()
        return not any(refund.status is pending for intent in intents for refund in intent.refunds.values())

    def _due(self) -> bool:
        now = self.world.clock.now()
        return any(row.run_time is not None and row.run_time <= now for row in self.world.bookings.rows.values())

    async def _resume_one(self) -> None:
        now = self.world.clock.now()
        for booking in await self.world.bookings.take_due(now, now + self.world.ports.times.lease, 1):
            await resume(self.world.ports, booking)

    async def _deliver(self, index: int) -> None:
        booking_id, charge, news = self.world.payments.events[index]
        await hear_payment(self.world.ports, TENANT, booking_id, charge, news)

    def _some_booking(self, which: int) -> str:
        return list(self.world.bookings.rows)[which % len(self.world.bookings.rows)]

    def _begin(self, name: str, work: Coroutine[Any, Any, object]) -> None:
        task = Task(name, work)
        if task.go_on():
            self.tasks.append(task)

    def _finish(self, task: Task) -> None:
        for _ in range(MAX_TURNS):
            if not task.go_on():
                return
        raise AssertionError(f"{task.name} never ends.")


BookingMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestBookingSaga = BookingMachine.TestCase
