"""Owns the audit of a test's mesh: waits until everything on its way has arrived, then counts violations."""

from __future__ import annotations

from datetime import timedelta

import psycopg

from scripts.audit.__main__ import SERVICES, audit
from tests.mesh import Mesh

DRAIN_SECONDS = 30.0
_WAITING = {
    "booking": """SELECT (SELECT count(*) FROM outbox WHERE publish_time IS NULL)
        + (SELECT count(*) FROM bookings WHERE step NOT IN ('DONE', 'AWAIT'))
        + (SELECT count(*) FROM bookings WHERE refund_status = 'PENDING')""",
    "payment": "SELECT count(*) FROM outbox WHERE publish_time IS NULL",
    "auth": "SELECT count(*) FROM outbox WHERE publish_time IS NULL",
    "inventory": "SELECT count(*) FROM outbox WHERE publish_time IS NULL",
    "notification": "SELECT count(*) FROM deliveries WHERE status = 'QUEUED'",
}


def audited(mesh: Mesh, settle: timedelta = timedelta(seconds=2)) -> dict[str, list[str]]:
    """The violations by invariant, once nothing is on its way any more; an honest mesh answers {}."""
    drain(mesh)
    urls = {name: mesh.database_url(name) for name in SERVICES}
    environment = mesh.stack.audit_environment()
    readings, notes = audit(
        urls,
        provider_key=environment["BERTH_STRIPE_API_KEY"],
        provider_base=environment["BERTH_STRIPE_API_BASE"],
        settle=settle,
    )
    assert not notes
    return {
        number: [f"{violation.subject}: {violation.detail}" for violation in reading.violations]
        for number, reading in readings.items()
        if reading.violations
    }


def drain(mesh: Mesh, seconds: float = DRAIN_SECONDS) -> None:
    """Waits until outboxes, sagas, refunds and deliveries have nothing left to do."""

    def drained() -> bool:
        return not any(_count(mesh.database_url(name), query) for name, query in _WAITING.items())

    mesh.wait(drained, "everything on its way to arrive", seconds)


def _count(url: str, query: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])
