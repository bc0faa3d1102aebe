"""Owns the end of each load: waits until nothing is on its way any more, then has the auditor count violations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import LiteralString

import psycopg

from infra.local.instance import STRIPE_API_KEY
from scripts.audit.__main__ import audit, show
from tests.mesh import Mesh

LONGEST_SECONDS = 300.0
POLL_SECONDS = 0.5
SETTLED = timedelta(seconds=1)  # everything has arrived: the auditor need not be patient
DATABASES = ("auth", "inventory", "booking", "payment", "notification")

# What is on its way, by the database that knows it.
_ON_ITS_WAY: Mapping[str, tuple[str, LiteralString]] = {
    "bookings that are being made": ("booking", "SELECT count(*) FROM bookings WHERE step NOT IN ('DONE', 'AWAIT')"),
    "events of booking": ("booking", "SELECT count(*) FROM outbox WHERE publish_time IS NULL"),
    "events of payment": ("payment", "SELECT count(*) FROM outbox WHERE publish_time IS NULL"),
    "events of inventory": ("inventory", "SELECT count(*) FROM outbox WHERE publish_time IS NULL"),
    "webhooks": ("payment", "SELECT count(*) FROM provider_events WHERE state = 'WAITING'"),
}
# Mails go out at a measured pace, for minutes after a long load; that each is queued once is seen before.
_MAILS = ("notification", "SELECT count(*) FROM deliveries WHERE status = 'QUEUED'")
_CONFIRMED = "SELECT count(*) FROM outbox WHERE type = 'berth.booking.events.v1.BookingConfirmed'"
_TOLD = "SELECT count(*) FROM deliveries WHERE kind = 'booking_confirmed'"


class NotDrainedError(AssertionError):
    """Something was still on its way when the patience ended; the message says what."""


def urls(mesh: Mesh) -> dict[str, str]:
    """Each service's database, as the auditor."""
    return {name: mesh.database_url(name) for name in DATABASES}


def drain(databases: Mapping[str, str], *, mails: bool = True) -> float:
    """Waits until everything has arrived, on request but for the mails; answers the seconds that it took."""
    started = time.monotonic()
    with ExitStack() as stack:
        connections = {
            name: stack.enter_context(psycopg.connect(url, autocommit=True)) for name, url in databases.items()
        }
        while waiting := _waiting(connections, mails=mails):
            if time.monotonic() - started > LONGEST_SECONDS:
                raise NotDrainedError(f"After {LONGEST_SECONDS:g} s there are still {waiting}.")
            time.sleep(POLL_SECONDS)
    return time.monotonic() - started


def violations(mesh: Mesh, databases: Mapping[str, str]) -> int:
    """Runs the whole audit, and shows it where it finds something."""
    readings, notes = audit(
        databases, provider_key=mesh.secrets[STRIPE_API_KEY], provider_base=mesh.stripe_url, settle=SETTLED
    )
    total = sum(len(reading.violations) for reading in readings.values())
    if total:
        show(readings, notes)
    return total


def _waiting(databases: Mapping[str, psycopg.Connection], *, mails: bool) -> dict[str, int]:
    queries = {**_ON_ITS_WAY, **({"mails": _MAILS} if mails else {})}
    found = {what: _count(databases[database], query) for what, (database, query) in queries.items()}
    found["confirmations that nobody was told of"] = _count(databases["booking"], _CONFIRMED) - _count(
        databases["notification"], _TOLD
    )
    return {what: count for what, count in found.items() if count}


def _count(connection: psycopg.Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
