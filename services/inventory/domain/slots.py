"""The slots of appointments: which instants of a day can be booked, on days when clocks change too.

Slots begin where the wall clock shows a multiple of their length, counted from midnight, and last their full length. A
time that is skipped begins none, one that occurs twice begins two where they do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.inventory.domain.catalog import MINUTES_A_DAY, AppointmentRules
from services.inventory.domain.zones import DAY, MINUTE, has_change, instant, midnight, occurrences

Period = tuple[datetime, datetime]

REMEMBERED_DAYS = 4096  # days of resources whose slots are kept, for those that many ask for


@lru_cache(maxsize=REMEMBERED_DAYS)
def slots(rules: AppointmentRules, day: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    """When the slots of a local day begin, in order."""
    open_periods = _openings(rules, day, zone)
    if not open_periods:
        return ()
    length = rules.slot_minutes * MINUTE
    found: list[datetime] = []
    for start in grid(rules.slot_minutes, day, zone):
        fits = any(begin <= start and start + length <= end for begin, end in open_periods)
        if fits and (not found or found[-1] + length <= start):
            found.append(start)
    return tuple(found)


def grid(slot_minutes: int, day: date, zone: ZoneInfo) -> list[datetime]:
    """Where slots may begin on a local day, whether it is open then or not."""
    offsets = range(0, MINUTES_A_DAY, slot_minutes)
    if not has_change(day, zone):
        begin = midnight(day, zone)
        return [begin + offset * MINUTE for offset in offsets]
    wall = datetime.combine(day, time())
    return sorted(start for offset in offsets for start in occurrences(wall + offset * MINUTE, zone))


def _openings(rules: AppointmentRules, day: date, zone: ZoneInfo) -> list[Period]:
    """A day's opening hours as instants, those that touch joined to one.

    An opening lasts from the first time the clocks show its beginning to the end of the last minute before its end.
    """
    hours = sorted(opening for opening in rules.openings if opening.day_of_week == day.isoweekday())
    return _joined(
        (_at(day, opening.open, zone, last=False), _at(day, opening.close, zone, last=True)) for opening in hours
    )


def _at(day: date, minutes: int, zone: ZoneInfo, *, last: bool) -> datetime:
    # The end of the day is the next one's beginning; asked for as 24:00 it would be the end of its second occurrence.
    if minutes == MINUTES_A_DAY:
        return midnight(day + DAY, zone)
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    # Not the last time that the end itself is shown: clocks put back to just that time show it again an hour too late.
    if last and occurrences(wall - MINUTE, zone):
        return instant(wall - MINUTE, zone, last=True) + MINUTE
    return instant(wall, zone, last=last)


def _joined(periods: Iterable[Period]) -> list[Period]:
    joined: list[Period] = []
    for begin, end in periods:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
