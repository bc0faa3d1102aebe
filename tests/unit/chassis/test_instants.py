"""Instants as messages carry them: the same as the library's own way, which takes longer."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.instants import instant_if, instant_to


# Not the calendar's first and last day: a zone may lead out of it.
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001 - the strategy adds the zone
def test_an_instant_is_written_as_the_library_writes_it(at: datetime) -> None:
    expected = Timestamp()
    expected.FromDatetime(at.astimezone(UTC))
    assert instant_to(at) == expected


def test_what_there_is_not_is_not_written() -> None:
    assert instant_if(None) is None
    assert instant_if(datetime(2028, 2, 29, tzinfo=UTC)) == Timestamp(seconds=1835395200)
