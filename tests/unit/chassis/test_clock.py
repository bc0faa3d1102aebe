"""Clocks tell aware instants, and a fixed one moves only when told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.chassis.clock import FixedClock, SystemClock


def test_a_fixed_clock_stands_still_until_told() -> None:
    clock = FixedClock(datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == clock.now() == datetime(2026, 3, 1, 10, tzinfo=UTC)
    clock.advance(timedelta(minutes=5))
    assert clock.now() == datetime(2026, 3, 1, 10, 5, tzinfo=UTC)
    assert clock.now().tzinfo is UTC


def test_an_instant_has_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        FixedClock(datetime(2026, 3, 1))  # noqa: DTZ001 - the very thing that is refused


def test_the_systems_clock_can_be_moved() -> None:
    ahead = SystemClock(timedelta(days=1)).now() - SystemClock().now()
    assert timedelta(hours=23, minutes=59) < ahead < timedelta(days=1, minutes=1)
