"""Verbs that only look: what is free, what it costs, and why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from services.chassis.errors import InvalidField, NotFound, Violation
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.inventory.domain.catalog import Kind, Resource
from services.inventory.domain.errors import NotBookable
from services.inventory.domain.items import (
    EPOCH_DAY,
    Cells,
    Code,
    Item,
    Nights,
    Obstacle,
    as_text,
    cells,
    day_obstacle,
    night,
    obstacles,
    slot_cells,
    sold_out,
)
from services.inventory.domain.pricing import PricedItem, price_item
from services.inventory.domain.slots import slots
from services.inventory.domain.zones import DAY, MINUTE
from services.inventory.ports import Occupancy, Ports

MAX_CALENDAR_DAYS = 92
MAX_READS = 3  # of a resource that changes while it is looked at


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an item can be booked, what it costs, and why not."""

    free: int
    obstacles: Sequence[Obstacle]
    priced: PricedItem | None  # None where it could not be booked even if all were free


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One day of a resource."""

    day: date
    free: int
    unit_price: Money
    obstacles: Sequence[Obstacle]


@dataclass(frozen=True, slots=True)
class SlotState:
    """One slot of a day."""

    start: datetime
    end: datetime
    free: int
    obstacles: Sequence[Obstacle]


async def check_availability(ports: Ports, caller: Principal, item: Item) -> Availability:
    """Tell whether an item can be booked now, and if not, every reason why."""

    def wanted(resource: Resource) -> Cells:
        fits = isinstance(item.range, Nights) == (resource.kind is Kind.STAY)
        return cells(resource, item.range) if fits else Cells(0, 0)

    resource, occupancy = await _look(ports, caller, item.resource_id, wanted)
    found = obstacles(resource, item, occupancy.now)
    if found:
        return Availability(0, found, None)
    span = cells(resource, item.range)
    free = _free(resource, occupancy, span)
    if free < item.quantity:
        found = [sold_out(at) for at in _full_at(resource, occupancy, item, span)]
    return Availability(free, found, price_item(resource, item))


async def get_calendar(
    ports: Ports, caller: Principal, resource_id: str, start: date, end: date
) -> Sequence[CalendarDay]:
    """Show a resource's days."""
    if (end - start).days > MAX_CALENDAR_DAYS:
        text = f"must lie at most {MAX_CALENDAR_DAYS} days after startDate"
        raise InvalidField(violations=[Violation("end_date", text)])
    resource, occupancy = await _look(ports, caller, resource_id, lambda found: _day_cells(found, start, end))
    days = [start + number * DAY for number in range((end - start).days)]
    return [_calendar_day(resource, occupancy, day) for day in days]


async def list_slots(
    ports: Ports, caller: Principal, resource_id: str, day: date
) -> tuple[Resource, Sequence[SlotState]]:
    """Show one day's slots of an appointment resource."""
    resource, occupancy = await _look(ports, caller, resource_id, lambda found: _day_cells(found, day, day))
    if resource.appointment is None:
        raise NotBookable("A stay has no slots.", refusals=Code.WRONG_KIND, resourceId=resource_id)
    obstacle = day_obstacle(resource, day, occupancy.now)
    if obstacle is not None and obstacle.code is not Code.ARCHIVED:
        return resource, []
    states = _slot_states(resource, occupancy, day)
    if obstacle is not None:
        states = [SlotState(state.start, state.end, state.free, [obstacle]) for state in states]
    return resource, states


async def _look(
    ports: Ports, caller: Principal, resource_id: str, wanted: Callable[[Resource], Cells]
) -> tuple[Resource, Occupancy]:
    """A resource and what is taken of it: one statement where this process knows the resource as it is."""
    resource = await _remembered(ports, caller, resource_id, frozenset())
    for _ in range(MAX_READS):
        occupancy = await ports.catalog.occupancy(caller.tenant_id, resource_id, wanted(resource))
        if occupancy.version == resource.version:
            return resource, occupancy
        resource = await _remembered(ports, caller, resource_id, frozenset({resource_id}))
    # It changes as fast as it is read: what is read now is as true as anything.
    return resource, await ports.catalog.occupancy(caller.tenant_id, resource_id, wanted(resource))


async def _remembered(ports: Ports, caller: Principal, resource_id: str, outdated: frozenset[str]) -> Resource:
    found = await ports.catalog.remembered(caller.tenant_id, [resource_id], not_these=outdated)
    if resource_id not in found:
        raise NotFound(resource="resource")
    return found[resource_id]


def _free(resource: Resource, occupancy: Occupancy, span: Cells) -> int:
    most = max((occupancy.used.get(cell, 0) for cell in range(span.first, span.last + 1)), default=0)
    return max(resource.capacity - most, 0)


def _full_at(resource: Resource, occupancy: Occupancy, item: Item, span: Cells) -> list[str]:
    """The nights that lack units, or the appointment's beginning."""
    if not isinstance(item.range, Nights):
        return [as_text(item.range.start)]
    return [
        (EPOCH_DAY + cell * DAY).isoformat()
        for cell in range(span.first, span.last + 1)
        if resource.capacity - occupancy.used.get(cell, 0) < item.quantity
    ]


def _day_cells(resource: Resource, first: date, last: date) -> Cells:
    """The cells of days, with those that the last day's slots and their buffers may reach; both days included."""
    if resource.appointment is None:
        return Cells(night(first), night(last))
    # A local day lies within a day of the UTC day of its date, and an appointment's cells within another.
    per_day = DAY // (resource.cell_minutes * MINUTE)
    return Cells((night(first) - 1) * per_day, (night(last) + 4) * per_day)


def _calendar_day(resource: Resource, occupancy: Occupancy, day: date) -> CalendarDay:
    price = resource.price.unit
    obstacle = day_obstacle(resource, day, occupancy.now)
    if obstacle is not None:
        return CalendarDay(day, 0, price, [obstacle])
    if resource.kind is Kind.STAY:
        free = _free(resource, occupancy, Cells(night(day), night(day)))
        return CalendarDay(day, free, price, [] if free else [sold_out(day.isoformat())])
    states = _slot_states(resource, occupancy, day)
    free = sum(1 for state in states if not state.obstacles)
    if free:
        return CalendarDay(day, free, price, [])
    return CalendarDay(day, 0, price, [_why_no_slot(states, day)])


def _why_no_slot(states: Sequence[SlotState], day: date) -> Obstacle:
    at = day.isoformat()
    if not states:
        return Obstacle(Code.CLOSED, "The resource is closed on that day.", at)
    if all(state.obstacles[0].code is Code.IN_THE_PAST for state in states):
        return Obstacle(Code.IN_THE_PAST, "The day's last slot has begun.", at)
    return sold_out(at)


def _slot_states(resource: Resource, occupancy: Occupancy, day: date) -> list[SlotState]:
    rules = resource.appointment
    if rules is None:
        raise ValueError("Only appointments have slots.")
    length = rules.slot_minutes * MINUTE
    states: list[SlotState] = []
    for start in slots(rules, day, resource.zone):
        free = _free(resource, occupancy, slot_cells(resource, start, start + length))
        found: list[Obstacle] = []
        if start <= occupancy.now:
            found.append(Obstacle(Code.IN_THE_PAST, "The slot has begun.", as_text(start)))
        elif not free:
            found.append(sold_out(as_text(start)))
        states.append(SlotState(start, start + length, free, found))
    return states
