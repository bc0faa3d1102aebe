"""Time as a person with a clock on the wall reads it: minute by minute, with no arithmetic across zones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from services.inventory.domain.catalog import AppointmentRules

STEP = timedelta(minutes=5)


@cache
def steps(day: date, zone: ZoneInfo) -> list[tuple[datetime, int]]:
    """Every fifth minute of a local day as an instant, with the minutes after midnight that the wall clock shows."""
    around = datetime.combine(day, time(), UTC)
    found: list[tuple[datetime, int]] = []
    for number in range(-18 * 12, 42 * 12):
        at = around + number * STEP
        local = at.astimezone(zone)
        if local.date() == day:
            found.append((at, local.hour * 60 + local.minute))
    return found


def open_instants(rules: AppointmentRules, day: date, zone: ZoneInfo) -> set[datetime]:
    """The fifth minutes at which it is open: from when an opening's beginning is first shown to its end's last time."""
    shown = steps(day, zone)
    found: set[datetime] = set()
    for opening in rules.openings:
        if opening.day_of_week != day.isoweekday():
            continue
        begins = [number for number, (_, minutes) in enumerate(shown) if minutes >= opening.open]
        ends = [number for number, (_, minutes) in enumerate(shown) if minutes < opening.close]
        if begins and ends:
            found |= {at for at, _ in shown[begins[0] : ends[-1] + 1]}
    return found


@cache
def day_slots(rules: AppointmentRules, day: date, zone: ZoneInfo) -> list[datetime]:
    """When a day's slots begin."""
    is_open = open_instants(rules, day, zone)
    found: list[datetime] = []
    for at, minutes in steps(day, zone):
        if minutes % rules.slot_minutes:
            continue
        if all(part in is_open for part in parts(at, at + rules.slot_minutes * timedelta(minutes=1))):
            if found and at < found[-1] + timedelta(minutes=rules.slot_minutes):
                continue
            found.append(at)
    return found


def parts(start: datetime, end: datetime) -> Iterator[datetime]:
    """The fifth minutes of a stretch of time."""
    while start < end:
        yield start
        start += STEP


@cache
def changes(zone: ZoneInfo, first: date, days: int) -> list[date]:
    """The days on which the clocks change: found hour by hour, by what they show."""
    found: list[date] = []
    begin = datetime.combine(first, time(), UTC)
    offset = begin.astimezone(zone).utcoffset()
    for number in range(24 * days):
        local = (begin + timedelta(hours=number)).astimezone(zone)
        if local.utcoffset() != offset:
            offset = local.utcoffset()
            found.append(local.date())
    return found
