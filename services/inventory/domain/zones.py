"""Wall clocks and instants: what a local time means on days when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """The IANA zones that a resource may lie in."""
    # `localtime` and the like are files of one machine, not names of the database.
    return frozenset(name for name in available_timezones() if name not in {"localtime", "posixrules", "Factory"})


def instant(wall: datetime, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """The instant at which a zone's clocks show `wall`.

    A time that occurs twice means its first occurrence, or its `last` one where asked; a time that is skipped means the
    instant at which the clocks skip it.
    """
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first
    if first < second:
        return second if last else first
    return _change_between(second, first, zone)


def occurrences(wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Every instant at which a zone's clocks show `wall`: one, two, or none at all."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return (first,)
    return (first, second) if first < second else ()


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins."""
    return instant(datetime.combine(day, time()), zone)


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """The date that a zone's calendars show at an instant."""
    return at.astimezone(zone).date()


def has_change(day: date, zone: ZoneInfo) -> bool:
    """Whether the clocks change on a local day."""
    begin, end = midnight(day, zone), midnight(day + DAY, zone)
    return end - begin != DAY or begin.astimezone(zone).utcoffset() != end.astimezone(zone).utcoffset()


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    offset = before.astimezone(zone).utcoffset()
    while after - before > MINUTE:
        middle = before + (after - before) // MINUTE // 2 * MINUTE
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after
