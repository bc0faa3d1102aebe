"""Random histories of holds, compared step by step with a model that counts minutes and nights on its fingers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from services.chassis.errors import Refusal
from services.chassis.principal import Principal
from services.inventory.domain.catalog import AppointmentRules, Kind, Opening, Resource
from services.inventory.domain.errors import ExtensionTooLong, HoldEnded
from services.inventory.domain.holds import Hold
from services.inventory.domain.items import Item, Nights
from services.inventory.usecases import availability, holds
from services.inventory.usecases.holds import PlaceBookingHold, PlaceHold
from tests.ports.inventory.worlds import World
from tests.unit.inventory import naive
from tests.unit.inventory.builders import (
    a_person,
    a_stay,
    a_vendor,
    an_id,
    appointments,
    nights,
    slot,
    stocked,
    the_booking,
)

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
HOUR = 60  # minutes
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo")
NIGHT_AND_DAY = tuple(Opening(day, *pair) for day in range(1, 8) for pair in ((0, 11 * 60), (13 * 60, 1440)))


@dataclass
class Told:
    """What the model knows of a hold; its times are minutes from now."""

    status: str
    takes: list[tuple[Hashable, int]]  # each atom of time of each resource, and how many units
    age: float
    left: float
    booking: tuple[str, str] | None = None
    hold_id: str = ""

    @property
    def now(self) -> str:
        """Where it stands, time considered."""
        return "EXPIRED" if self.status == "HELD" and self.left <= 0 else self.status


@dataclass
class Model:
    """The naive truth."""

    holds: list[Told] = field(default_factory=list)

    def used(self, atom: Hashable) -> int:
        """How many units of an atom are held or sold."""
        living = [told for told in self.holds if told.now in {"HELD", "POSTED"}]
        return sum(count for told in living for taken, count in told.takes if taken == atom)


class HoldMachine(RuleBasedStateMachine):
    """Does the same to a world and to the model, and sees that they answer the same."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.world: World
        self.resources: list[Resource] = []
        self.days: dict[str, list[date]] = {}
        self.caller: Principal
        self.booking: Principal

    def make_world(self) -> World:
        """The world to try."""
        raise NotImplementedError

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do something and wait for it."""
        return self.runner.run(coroutine)

    def attempt(self, coroutine: Coroutine[Any, Any, T]) -> T | Refusal:
        """Do something; the answer, or the refusal."""
        try:
            return self.run(coroutine)
        except Refusal as refused:
            return refused

    people = Bundle("people")  # holds of the person
    bookings = Bundle("bookings")  # steps of bookings, with a hold or without

    @initialize(zone=st.sampled_from(ZONES), capacity=st.integers(1, 3), size=st.sampled_from([20, 30, 120]))
    def begin(self, zone: str, capacity: int, size: int) -> None:
        """Stock a room and a doctor in one zone; days of interest are those when its clocks change, and 29 February."""
        self.world = self.make_world()
        now = self.world.ports.clock.now()
        self.caller, self.booking = a_person(self.world.tenant_id), the_booking(self.world.tenant_id)
        vendor = a_vendor(a_person(self.world.tenant_id), now)
        rules = AppointmentRules(size, max_slots=3, buffer_minutes=25, openings=NIGHT_AND_DAY)
        room = a_stay(vendor, capacity=capacity, time_zone=zone)
        doctor = appointments(vendor, rules, capacity=capacity, time_zone=zone)
        self.run(stocked(self.world.ports, self.world.tenant_id, vendor, room, doctor))
        self.resources = [room, doctor]
        soon = now.date() + timedelta(3)
        leap = next(year for year in range(soon.year, soon.year + 9) if year % 4 == 0 and date(year, 2, 29) > soon)
        found = [*naive.changes(room.zone, soon, 340)[:2], date(leap, 2, 29)]
        self.special = [day for day in found if day < soon + timedelta(700)] or [soon]

    # What may be asked for

    def item(self, which: int, near: int, offset: int, count: int, quantity: int) -> Item:
        """An item near a special day."""
        resource = self.resources[which]
        day = self.special[near % len(self.special)]
        if resource.kind is Kind.STAY:
            return nights(resource, day + (offset % 5 - 3) * timedelta(1), count, quantity)
        rules = resource.appointment
        assert rules is not None
        # Any fifth minute of the day may be asked for, at its local dead of night too.
        begin = naive.steps(day, resource.zone)[0][0] if offset % 2 else datetime.combine(day, time(), UTC)
        step = rules.slot_minutes if offset % 5 else 5
        return slot(resource, begin + (offset % 40) * step * MINUTE, count, quantity)

    def atoms(self, item: Item) -> list[Hashable] | None:
        """What an item takes, by the wall clock; None where it cannot be booked at all."""
        resource = next(found for found in self.resources if found.resource_id == item.resource_id)
        if item.quantity > resource.capacity:
            return None
        if isinstance(item.range, Nights):
            return [(item.resource_id, item.range.start + timedelta(n)) for n in range(item.range.count)]
        rules = resource.appointment
        assert rules is not None
        length = rules.slot_minutes * MINUTE
        start = item.range.start
        while start < item.range.end:
            day = start.astimezone(resource.zone).date()
            if start not in naive.day_slots(rules, day, resource.zone):
                return None
            start += length
        until = item.range.end + rules.buffer_minutes * MINUTE
        return [(item.resource_id, at) for at in naive.parts(item.range.start, until)]

    def expected(self, items: Iterable[Item]) -> list[tuple[Hashable, int]] | str:
        """What an order takes, or why it is refused."""
        takes: list[tuple[Hashable, int]] = []
        wanted: dict[Hashable, int] = {}
        taken = False
        for item in items:
            atoms = self.atoms(item)
            if atoms is None:
                return "NOT_BOOKABLE"
            capacity = next(found.capacity for found in self.resources if found.resource_id == item.resource_id)
            for atom in atoms:
                wanted[atom] = wanted.get(atom, 0) + item.quantity
                takes.append((atom, item.quantity))
                taken = taken or self.model.used(atom) + wanted[atom] > capacity
        return "UNITS_TAKEN" if taken else takes

    # What people and bookings do

    orders = st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 2), st.integers(0, 90), st.integers(1, 3), st.sampled_from([1, 1, 1, 2])
        ),
        min_size=1,
        max_size=2,
    )
    lives = st.sampled_from([5, 10, 25])

    @rule(target=people, order=orders, life=lives)
    def place(self, order: list[tuple[int, int, int, int, int]], life: int) -> Any:
        """A person asks."""
        items = [self.item(*asked) for asked in order]
        expected = self.expected(items)
        command = PlaceHold(items, ttl=life * MINUTE)
        hold = self.attempt(holds.place_hold(self.world.ports, self.caller, command, None))
        if isinstance(hold, Refusal) or isinstance(expected, str):
            assert isinstance(hold, Refusal)
            assert hold.reason == expected
            return multiple()
        told = Told("HELD", expected, 0, life, hold_id=hold.hold_id)
        self.model.holds.append(told)
        return told

    @rule(target=bookings, order=orders, life=lives)
    def place_for_booking(self, order: list[tuple[int, int, int, int, int]], life: int) -> Any:
        """A booking asks, twice."""
        items = [self.item(*asked) for asked in order]
        expected = self.expected(items)
        step = (an_id("bkg"), "book")
        command = PlaceBookingHold(*step, self.caller.subject, life * MINUTE, items)
        hold = self.attempt(holds.place_booking_hold(self.world.ports, self.booking, command))
        if isinstance(hold, Refusal) or isinstance(expected, str):
            assert isinstance(hold, Refusal)
            assert hold.reason == expected
            return multiple()
        again = self.run(holds.place_booking_hold(self.world.ports, self.booking, command))
        assert again.hold_id == hold.hold_id
        told = Told("HELD", expected, 0, life, step, hold.hold_id)
        self.model.holds.append(told)
        return told

    @rule(target=bookings, told=people, life=lives)
    def take_over(self, told: Told, life: int) -> Any:
        """A booking asks for a person's hold."""
        step = (an_id("bkg"), "book")
        command = PlaceBookingHold(*step, self.caller.subject, life * MINUTE, hold_id=told.hold_id)
        hold = self.attempt(holds.place_booking_hold(self.world.ports, self.booking, command))
        if isinstance(hold, Refusal):
            assert told.now != "HELD" or told.booking is not None
            assert (hold.reason, hold.metadata) == ("HOLD_ENDED", {"status": told.now})
            return multiple()
        assert told.now == "HELD"
        assert told.booking is None
        told.booking, told.left = step, life
        return told

    @rule(told=people, life=lives)
    def extend(self, told: Told, life: int) -> None:
        """A person wants more time."""
        left = max(told.left, life)
        hold = self.attempt(holds.extend_hold(self.world.ports, self.caller, told.hold_id, life * MINUTE, None))
        if told.now != "HELD" or told.booking is not None:
            assert isinstance(hold, HoldEnded)
        elif told.age + left > HOUR:
            assert isinstance(hold, ExtensionTooLong)
        else:
            assert isinstance(hold, Hold)
            told.left = left

    @rule(told=people)
    def release(self, told: Told) -> None:
        """A person gives back."""
        hold = self.attempt(holds.release_hold(self.world.ports, self.caller, told.hold_id, None))
        if told.booking is not None:
            assert isinstance(hold, HoldEnded)
            return
        told.status = "RELEASED" if told.now == "HELD" else told.now
        assert isinstance(hold, Hold)
        assert hold.status == told.status

    @rule(told=bookings)
    def post(self, told: Told) -> None:
        """A booking buys."""
        self.move(told, holds.post_hold, "POSTED", {"HELD", "POSTED"})

    @rule(told=bookings)
    def cancel(self, told: Told) -> None:
        """A booking is cancelled."""
        self.move(told, holds.cancel_posted_hold, "CANCELLED", {"POSTED", "CANCELLED"})

    def move(self, told: Told, act: Any, to: str, legal: set[str]) -> None:
        """A booking's verb that wants a state."""
        assert told.booking is not None
        hold = self.attempt(act(self.world.ports, self.booking, *told.booking))
        if told.now not in legal:
            assert isinstance(hold, HoldEnded)
            assert hold.metadata == {"status": told.now}
            return
        told.status = to
        assert isinstance(hold, Hold)
        assert hold.status == to

    @rule(told=bookings)
    def void(self, told: Told) -> None:
        """A booking gives up."""
        assert told.booking is not None
        refused = self.attempt(holds.void_hold(self.world.ports, self.booking, *told.booking))
        if told.now == "POSTED":
            assert isinstance(refused, HoldEnded)
            return
        assert refused is None
        told.status = "VOIDED" if told.now == "HELD" else told.now

    @rule(order=orders)
    def void_first(self, order: list[tuple[int, int, int, int, int]]) -> None:
        """A booking gives up before it asked; asking later keeps nothing."""
        step = (an_id("bkg"), "book")
        self.run(holds.void_hold(self.world.ports, self.booking, *step))
        command = PlaceBookingHold(*step, self.caller.subject, MINUTE, [self.item(*asked) for asked in order])
        placed = self.attempt(holds.place_booking_hold(self.world.ports, self.booking, command))
        assert isinstance(placed, HoldEnded)

    @rule(minutes=st.sampled_from([1.5, 4.5, 12.5, 40.5]))
    def pass_time(self, minutes: float) -> None:
        """Time passes; never to the very moment at which something ends."""
        self.world.age(minutes * MINUTE)
        for told in self.model.holds:
            told.age += minutes
            told.left -= minutes

    @rule()
    def sweep(self) -> None:
        """The sweeper comes by."""
        self.run(self.world.ports.holds.sweep(1_000))

    @rule(order=orders)
    def look(self, order: list[tuple[int, int, int, int, int]]) -> None:
        """Somebody asks what is free."""
        item = self.item(*order[0])
        seen = self.run(availability.check_availability(self.world.ports, self.caller, item))
        expected = self.expected([item])
        codes = {obstacle.code.value for obstacle in seen.obstacles}
        if expected == "NOT_BOOKABLE":
            assert codes
            assert "SOLD_OUT" not in codes
        else:
            assert codes == ({"SOLD_OUT"} if expected == "UNITS_TAKEN" else set())

    @invariant()
    def counters_and_holds_agree(self) -> None:
        """Nothing is counted that is not held, and the reverse."""
        if self.resources:
            assert self.world.broken() == []

    async def leave(self) -> None:
        """Let go of the world."""

    def teardown(self) -> None:
        """At the end every hold stands where the model says."""
        try:
            for told in self.model.holds:
                hold = self.attempt(holds.get_hold(self.world.ports, self.caller, told.hold_id))
                assert isinstance(hold, Hold)
                assert hold.status == told.now
        finally:
            self.run(self.leave())
            self.runner.close()
