"""What is asked for: an item's range, the cells of the grid that it takes, and every reason why it cannot be booked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from services.inventory.domain.catalog import AppointmentRules, Kind, Resource, ResourceStatus, StayRules
from services.inventory.domain.slots import grid, slots
from services.inventory.domain.zones import DAY, MINUTE, instant, local_date, midnight

HORIZON = timedelta(days=730)  # the latest beginning that can be booked
EPOCH_DAY = date(1970, 1, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Nights:
    """A stay: its first night and its day of departure."""

    start: date
    end: date

    @property
    def count(self) -> int:
        """How many nights it has."""
        return (self.end - self.start).days


@dataclass(frozen=True, slots=True)
class Times:
    """An appointment."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """One resource over one range."""

    resource_id: str
    range: Nights | Times
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class Cells:
    """Neighbouring cells of a resource's grid, both ends included."""

    first: int
    last: int


class Code(StrEnum):
    """Machine reasons why something cannot be booked."""

    SOLD_OUT = "SOLD_OUT"
    CLOSED = "CLOSED"
    IN_THE_PAST = "IN_THE_PAST"
    TOO_FAR_AHEAD = "TOO_FAR_AHEAD"
    TOO_SHORT = "TOO_SHORT"
    TOO_LONG = "TOO_LONG"
    OFF_GRID = "OFF_GRID"
    EXCEEDS_CAPACITY = "EXCEEDS_CAPACITY"
    ARCHIVED = "ARCHIVED"
    WRONG_KIND = "WRONG_KIND"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One reason why something cannot be booked, and the date or instant that it is about."""

    code: Code
    message: str
    at: str = ""


def cells(resource: Resource, asked: Nights | Times) -> Cells:
    """The cells that a range takes; an appointment's buffer after it included."""
    if isinstance(asked, Nights):
        return Cells(night(asked.start), night(asked.end) - 1)
    return slot_cells(resource, asked.start, asked.end)


def night(day: date) -> int:
    """The cell of the night that begins on a day."""
    return (day - EPOCH_DAY).days


def slot_cells(resource: Resource, start: datetime, end: datetime) -> Cells:
    """The cells of an appointment and of the buffer after it."""
    buffer = resource.appointment.buffer_minutes if resource.appointment else 0
    size = resource.cell_minutes * MINUTE
    return Cells((start - EPOCH) // size, -((EPOCH - end - buffer * MINUTE) // size) - 1)


def units(resource: Resource, asked: Nights | Times) -> int:
    """How many nights or slots a range has."""
    if isinstance(asked, Nights):
        return asked.count
    length = (resource.appointment.slot_minutes if resource.appointment else 1) * MINUTE
    return (asked.end - asked.start) // length


def begin_time(resource: Resource, asked: Nights | Times) -> datetime:
    """When a range begins: the check-in of a stay, the start of an appointment."""
    if isinstance(asked, Times):
        return asked.start
    return _local(resource, asked.start, (resource.stay or StayRules()).check_in)


def finish_time(resource: Resource, asked: Nights | Times) -> datetime:
    """When a range ends: the check-out of a stay, the end of an appointment."""
    if isinstance(asked, Times):
        return asked.end
    return _local(resource, asked.end, (resource.stay or StayRules()).check_out)


def bookable_until(resource: Resource, asked: Nights | Times) -> datetime:
    """The instant from which a range lies in the past: a stay can be booked until its first day is over."""
    if isinstance(asked, Times):
        return asked.start
    return midnight(asked.start + DAY, resource.zone)


def obstacles(resource: Resource, item: Item, now: datetime) -> list[Obstacle]:
    """Every reason why an item cannot be booked, whoever else asks."""
    if resource.status is not ResourceStatus.ACTIVE:
        return [Obstacle(Code.ARCHIVED, "The resource takes no new bookings.")]
    if isinstance(item.range, Nights) != (resource.kind is Kind.STAY):
        wanted = "dates" if resource.kind is Kind.STAY else "a start and an end time"
        return [Obstacle(Code.WRONG_KIND, f"The resource is booked by {wanted}.")]
    found: list[Obstacle] = []
    if item.quantity > resource.capacity:
        found.append(Obstacle(Code.EXCEEDS_CAPACITY, f"There are only {resource.capacity} units."))
    if isinstance(item.range, Nights):
        return found + _night_obstacles(resource, item.range, now)
    return found + _time_obstacles(resource, item.range, now)


def day_obstacle(resource: Resource, day: date, now: datetime) -> Obstacle | None:
    """Why nothing can begin on a day of the resource's calendar, whatever is free."""
    today = local_date(now, resource.zone)
    if resource.status is not ResourceStatus.ACTIVE:
        return Obstacle(Code.ARCHIVED, "The resource takes no new bookings.")
    if day < today:
        return Obstacle(Code.IN_THE_PAST, "The day is over.", day.isoformat())
    if day > today + HORIZON:
        return Obstacle(Code.TOO_FAR_AHEAD, "The day lies more than two years ahead.", day.isoformat())
    return None


def sold_out(at: str = "") -> Obstacle:
    """All units are held or sold."""
    return Obstacle(Code.SOLD_OUT, "All units are taken.", at)


def _night_obstacles(resource: Resource, nights: Nights, now: datetime) -> list[Obstacle]:
    rules = resource.stay or StayRules()
    found: list[Obstacle] = []
    begins = day_obstacle(resource, nights.start, now)
    if begins is not None:
        found.append(begins)
    if nights.count < rules.min_nights:
        found.append(Obstacle(Code.TOO_SHORT, f"A stay has at least {rules.min_nights} nights."))
    if nights.count > rules.max_nights:
        found.append(Obstacle(Code.TOO_LONG, f"A stay has at most {rules.max_nights} nights."))
    return found


def _time_obstacles(resource: Resource, times: Times, now: datetime) -> list[Obstacle]:
    rules = resource.appointment
    if rules is None:
        raise ValueError("An appointment resource has appointment rules.")
    at = as_text(times.start)
    if times.start <= now:
        return [Obstacle(Code.IN_THE_PAST, "The appointment begins in the past.", at)]
    if times.start > now + HORIZON:
        return [Obstacle(Code.TOO_FAR_AHEAD, "The appointment begins more than two years ahead.", at)]
    length = rules.slot_minutes * MINUTE
    count, rest = divmod(times.end - times.start, length)
    if count > rules.max_slots:
        return [Obstacle(Code.TOO_LONG, f"A booking has at most {rules.max_slots} slots.")]
    if rest or not count:
        text = f"An appointment lasts a multiple of {rules.slot_minutes} minutes."
        return [Obstacle(Code.OFF_GRID, text, as_text(times.end))]
    for number in range(count):
        found = _slot_obstacle(resource, rules, times.start + number * length)
        if found is not None:
            return [found]
    return []


def _slot_obstacle(resource: Resource, rules: AppointmentRules, start: datetime) -> Obstacle | None:
    day = local_date(start, resource.zone)
    if start in slots(rules, day, resource.zone):
        return None
    if start in grid(rules.slot_minutes, day, resource.zone):
        return Obstacle(Code.CLOSED, "The resource is closed then.", as_text(start))
    return Obstacle(Code.OFF_GRID, "No slot begins then.", as_text(start))


def as_text(at: datetime) -> str:
    """An instant as RFC 3339 writes it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _local(resource: Resource, day: date, minutes: int) -> datetime:
    return instant(datetime.combine(day, time()) + timedelta(minutes=minutes), resource.zone)
