"""Local time is right on days when clocks change, in zones of half hours, and on 29 February."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain.catalog import AppointmentRules, Opening, Resource, StayRules
from services.inventory.domain.items import (
    Cells,
    Code,
    Nights,
    Times,
    begin_time,
    bookable_until,
    cells,
    finish_time,
    obstacles,
    units,
)
from services.inventory.domain.slots import slots
from services.inventory.domain.zones import has_change, instant, midnight, occurrences
from tests.unit.inventory import naive
from tests.unit.inventory.builders import (
    DAY_AND_NIGHT,
    NOW,
    a_person,
    a_stay,
    a_vendor,
    appointments,
    nights,
    slot,
)

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Asia/Kolkata",  # UTC+5:30
    "Asia/Kathmandu",  # UTC+5:45
    "Pacific/Chatham",  # UTC+12:45, with summer time
    "Africa/Cairo",  # clocks change at midnight
    "America/St_Johns",  # UTC-3:30, with summer time
    "UTC",
)
VENDOR = a_vendor(a_person("ten"))
SIZES = st.sampled_from([5, 10, 15, 20, 30, 60, 90, 120, 180, 240, 360, 480, 720])


@cache
def changing_days(zone: str) -> list[date]:
    return naive.changes(ZoneInfo(zone), date(2027, 1, 1), 365) or [date(2027, 3, 28)]


@st.composite
def days(draw: st.DrawFn) -> tuple[date, ZoneInfo]:
    """A day on which clocks change, or one beside it, or 29 February."""
    zone = draw(st.sampled_from(ZONES))
    day = draw(st.sampled_from([*changing_days(zone), date(2028, 2, 29)])) + draw(st.integers(-1, 1)) * timedelta(1)
    return day, ZoneInfo(zone)


@st.composite
def hours(draw: st.DrawFn) -> tuple[Opening, ...]:
    """Opening hours that leave their mark on the hours that clocks skip and repeat."""
    marks = sorted(draw(st.sets(st.integers(0, 96).map(lambda quarter: quarter * 15), min_size=2, max_size=4)))
    pairs = list(zip(marks[::2], marks[1::2], strict=False))
    return tuple(Opening(day, *pair) for day in range(1, 8) for pair in pairs)


@given(days(), SIZES, hours())
def test_slots_are_those_that_a_wall_clock_shows(
    when: tuple[date, ZoneInfo], size: int, openings: tuple[Opening, ...]
) -> None:
    rules = AppointmentRules(size, openings=openings)
    assert list(slots(rules, *when)) == naive.day_slots(rules, *when)


def test_a_close_at_the_very_time_that_clocks_are_put_back_to_stays_the_close() -> None:
    # Chatham's clocks show 2:45 once more at 3:45; who closes at 2:45 has closed an hour before.
    rules = AppointmentRules(15, openings=(Opening(7, 120, 165),))
    chatham, day = ZoneInfo("Pacific/Chatham"), date(2027, 4, 4)
    assert [at.astimezone(chatham).strftime("%H:%M") for at in slots(rules, day, chatham)] == [
        "02:00",
        "02:15",
        "02:30",
    ]


@pytest.mark.parametrize(
    ("day", "zone", "count"),
    [
        ("2027-03-28", "Europe/Berlin", 46),
        ("2027-10-31", "Europe/Berlin", 50),
        ("2027-04-04", "Australia/Lord_Howe", 49),
        ("2027-10-03", "Australia/Lord_Howe", 47),
        ("2028-02-29", "Asia/Kolkata", 48),
        ("2027-04-30", "Africa/Cairo", 46),
    ],
)
def test_half_hours_of_a_day(day: str, zone: str, count: int) -> None:
    rules = AppointmentRules(30, openings=DAY_AND_NIGHT)
    assert len(slots(rules, date.fromisoformat(day), ZoneInfo(zone))) == count


def test_a_skipped_time_means_the_moment_of_the_skip() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    skipped = datetime(2027, 3, 28, 2, 30)  # noqa: DTZ001 - a wall clock has no zone
    assert occurrences(skipped, berlin) == ()
    assert instant(skipped, berlin) == datetime(2027, 3, 28, 1, tzinfo=UTC)
    twice = datetime(2027, 10, 31, 2, 30)  # noqa: DTZ001 - likewise
    assert occurrences(twice, berlin) == (instant(twice, berlin), instant(twice, berlin, last=True))
    assert instant(twice, berlin, last=True) - instant(twice, berlin) == timedelta(hours=1)
    # Cairo skips from 23:59:59 on the 29th to 01:00 on the 30th: the day begins at one o'clock.
    assert midnight(date(2027, 4, 30), ZoneInfo("Africa/Cairo")).astimezone(ZoneInfo("Africa/Cairo")).hour == 1


@given(days())
def test_days_with_a_change_are_known(when: tuple[date, ZoneInfo]) -> None:
    day, zone = when
    shown = naive.steps(day, zone)
    assert midnight(day, zone) == shown[0][0]
    if len({at.astimezone(zone).utcoffset() for at, _ in shown}) > 1:
        assert has_change(day, zone)
    if not has_change(day, zone):
        assert len(shown) == 288


@given(days(), st.integers(1, 20))
def test_a_stay_is_its_nights_whatever_the_clocks_do(when: tuple[date, ZoneInfo], count: int) -> None:
    day, zone = when
    room = a_stay(VENDOR, time_zone=zone.key)
    asked = Nights(day, day + timedelta(count))
    found = cells(room, asked)
    assert found.last - found.first + 1 == units(room, asked) == count
    assert cells(room, Nights(asked.end, asked.end + timedelta(1))).first == found.last + 1
    arrives, leaves = begin_time(room, asked).astimezone(zone), finish_time(room, asked).astimezone(zone)
    assert (arrives.date(), arrives.hour, leaves.date(), leaves.hour) == (day, 15, asked.end, 11)
    assert bookable_until(room, asked).astimezone(zone).date() == day + timedelta(1)


@given(SIZES, st.integers(0, 48).map(lambda number: number * 5), st.integers(1, 4), days())
def test_cells_meet_exactly_when_times_do(size: int, buffer: int, count: int, when: tuple[date, ZoneInfo]) -> None:
    day, zone = when
    rules = AppointmentRules(size, max_slots=4, buffer_minutes=buffer, openings=DAY_AND_NIGHT)
    doctor = appointments(VENDOR, rules, time_zone=zone.key)
    starts = slots(rules, day, zone)
    length = count * size * naive.STEP / 5
    first = starts[len(starts) // 2]
    taken = set(naive.parts(first, first + length + buffer * naive.STEP / 5))
    mine = cells(doctor, Times(first, first + length))
    for start in starts:
        wanted = set(naive.parts(start, start + size * naive.STEP / 5 + buffer * naive.STEP / 5))
        theirs = cells(doctor, Times(start, start + size * naive.STEP / 5))
        assert _meet(mine, theirs) == bool(taken & wanted)


def _meet(one: Cells, other: Cells) -> bool:
    return one.first <= other.last and other.first <= one.last


def codes(resource: Resource, item: object, now: datetime = NOW) -> list[Code]:
    return [found.code for found in obstacles(resource, item, now)]  # type: ignore[arg-type]  # tests pass items


def test_every_reason_for_a_stay() -> None:
    room = a_stay(VENDOR, capacity=2, max_nights=5)
    strict = a_stay(VENDOR)
    object.__setattr__(strict, "stay", StayRules(min_nights=3))
    today = NOW.date()
    assert codes(room, nights(room, today)) == []  # tonight can still be had
    assert codes(room, nights(room, today - timedelta(1))) == [Code.IN_THE_PAST]
    assert codes(room, nights(room, today + timedelta(731))) == [Code.TOO_FAR_AHEAD]
    assert codes(room, nights(room, today + timedelta(730))) == []
    assert codes(room, nights(room, today, 6, 3)) == [Code.EXCEEDS_CAPACITY, Code.TOO_LONG]
    assert codes(strict, nights(strict, today, 2)) == [Code.TOO_SHORT]
    assert codes(room, slot(room, NOW + timedelta(1))) == [Code.WRONG_KIND]
    for day in (date.min, date.max - timedelta(1)):
        assert codes(room, nights(room, day))


def test_today_is_the_resources_today() -> None:
    late = datetime(2027, 3, 1, 23, 30, tzinfo=UTC)  # already the 2nd in Auckland, still the 1st in Honolulu
    east, west = a_stay(VENDOR, time_zone="Pacific/Auckland"), a_stay(VENDOR, time_zone="Pacific/Honolulu")
    assert codes(east, nights(east, "2027-03-01"), late) == [Code.IN_THE_PAST]
    assert codes(west, nights(west, "2027-03-01"), late) == []


def test_every_reason_for_an_appointment() -> None:
    rules = AppointmentRules(30, max_slots=2, openings=(Opening(2, 9 * 60, 12 * 60), Opening(2, 12 * 60, 13 * 60)))
    doctor = appointments(VENDOR, rules, time_zone="Asia/Kathmandu")
    nine = datetime(2027, 3, 2, 9, tzinfo=ZoneInfo("Asia/Kathmandu")).astimezone(UTC)
    assert codes(doctor, slot(doctor, nine)) == []
    assert codes(doctor, slot(doctor, nine + timedelta(hours=2.5), 2)) == []  # across touching openings
    assert codes(doctor, slot(doctor, nine + timedelta(hours=3.5), 2)) == [Code.CLOSED]
    assert codes(doctor, slot(doctor, nine - timedelta(hours=1))) == [Code.CLOSED]
    assert codes(doctor, slot(doctor, nine + timedelta(minutes=15))) == [Code.OFF_GRID]
    assert codes(doctor, slot(doctor, nine, 3)) == [Code.TOO_LONG]
    assert codes(doctor, slot(doctor, nine), nine) == [Code.IN_THE_PAST]
    assert codes(doctor, slot(doctor, nine + timedelta(735))) == [Code.TOO_FAR_AHEAD]
    assert codes(doctor, nights(doctor, "2027-03-02")) == [Code.WRONG_KIND]
    odd = slot(doctor, nine)
    object.__setattr__(odd, "range", Times(nine, nine + timedelta(minutes=20)))
    assert codes(doctor, odd) == [Code.OFF_GRID]
