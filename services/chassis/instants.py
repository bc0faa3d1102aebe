"""Instants as messages carry them."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_to(at: datetime) -> Timestamp:
    """Write an instant: a quarter of the time of `FromDatetime`, and a booking's messages have two dozen of them."""
    since = at - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def instant_if(at: datetime | None) -> Timestamp | None:
    """Write an instant that there may not be."""
    return None if at is None else instant_to(at)
