"""What waits in the database for the workers: provider events to apply and payments to check, for every tenant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.db import Database, Gather
from services.payment.ports import DuePayment, ProviderEvent, WaitingEvent
from services.payment.store.tables import provider_events

# An event that overtakes our own commit waits for it this long: usually there is then nothing left to do.
GRACE = timedelta(seconds=2)
KEEP = timedelta(days=90)  # events: beyond the provider's retries and any dispute about what it told us
PURGE_BATCH = 10_000  # rows
MAX_HEARD = 64  # events kept in one statement
MAX_MOOT = 1_000  # events settled in one

# What the payment already says needs no further look; an event about a payment in the making is given time.
# LIMIT has each payment looked up: for a join, the planner reads all payments as long as it takes them to be few.
_KEEP = """
    INSERT INTO provider_events (event_id, type, object_id, intent_id, payment_id, state, create_time, receive_time,
        due_time, apply_time)
    SELECT given.event_id, given.type, given.object_id, given.intent_id, given.payment_id,
        CASE WHEN NOT given.relevant THEN 'KEPT' WHEN p.moot THEN 'APPLIED' ELSE 'WAITING' END,
        given.create_time, %(at)s::timestamptz,
        %(at)s::timestamptz + CASE WHEN p.in_the_making THEN %(grace)s::interval ELSE interval '0' END,
        CASE WHEN given.relevant AND p.moot THEN %(at)s::timestamptz END
    FROM jsonb_to_recordset(%(events)s::jsonb) AS given (
        event_id text, type text, object_id text, intent_id text, payment_id text, create_time timestamptz,
        relevant boolean
    )
    LEFT JOIN LATERAL (
        SELECT is_moot(payments, given.type, given.intent_id) AS moot,
            status = 'PROCESSING' AND attempt_time > %(at)s::timestamptz - %(grace)s::interval AS in_the_making
        FROM payments WHERE payments.payment_id = given.payment_id LIMIT 1
    ) p ON true
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id, CASE WHEN state = 'WAITING' THEN due_time END AS due_time
"""

# Those that waited for our own commit, and now say nothing that the payment does not say.
_SETTLE_MOOT = """
    UPDATE provider_events SET state = 'APPLIED', apply_time = %(at)s
    WHERE event_id IN (
        SELECT e.event_id FROM provider_events e JOIN payments p USING (payment_id)
        WHERE e.state = 'WAITING' AND e.due_time <= %(at)s AND is_moot(p, e.type, e.intent_id)
        LIMIT %(limit)s FOR UPDATE OF e SKIP LOCKED
    )
"""

_LEASE_EVENTS = """
    WITH due AS (
        SELECT event_id FROM provider_events WHERE state = 'WAITING' AND due_time <= %(at)s
        ORDER BY due_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), leased AS (
        UPDATE provider_events e SET tries = tries + 1,
            due_time = %(at)s::timestamptz + least(interval '5 seconds' * 2 ^ least(tries, 10), interval '1 hour')
        FROM due WHERE e.event_id = due.event_id
        RETURNING e.event_id, e.type, e.intent_id, e.payment_id
    )
    SELECT l.event_id, l.type, coalesce(p.tenant_id, '') AS tenant_id, coalesce(p.payment_id, '') AS payment_id
    FROM leased l LEFT JOIN LATERAL (
        SELECT tenant_id, payment_id FROM payments WHERE payment_id = l.payment_id
        UNION ALL
        SELECT tenant_id, payment_id FROM payments WHERE l.payment_id = '' AND provider_intent_id = l.intent_id
        LIMIT 1
    ) p ON true
"""

_SETTLE = """
    UPDATE provider_events SET state = 'APPLIED', apply_time = %(at)s
    WHERE event_id = ANY(%(event_ids)s) AND state = 'WAITING'
"""

_LEASE_PAYMENTS = """
    WITH due AS (
        SELECT payment_id FROM payments WHERE check_time <= %(at)s
        ORDER BY check_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE payments p SET check_count = check_count + 1,
        check_time = %(at)s::timestamptz + least(interval '5 seconds' * 2 ^ least(check_count, 10), interval '1 hour')
    FROM due WHERE p.payment_id = due.payment_id
    RETURNING p.tenant_id, p.payment_id
"""


class _Heard(NamedTuple):
    event: ProviderEvent
    at: datetime
    relevant: bool


class StoredProviderEvents:
    """Provider events in PostgreSQL, kept by the worker's role: whose they are is not known before they are read."""

    def __init__(self, worker_database: Database) -> None:
        self._database = worker_database
        self._keeping: Gather[_Heard, datetime | None] = Gather(
            self._keep, together=MAX_HEARD, identity=lambda heard: heard.event.event_id
        )

    async def keep(self, event: ProviderEvent, at: datetime, *, relevant: bool) -> datetime | None:
        return await self._database.in_time(self._keeping.ask(_Heard(event, at, relevant)))

    async def lease(self, at: datetime, limit: int) -> list[WaitingEvent]:
        await self._database.execute(_SETTLE_MOOT, {"at": at, "limit": MAX_MOOT})
        rows = await self._database.fetch_all(_LEASE_EVENTS, {"at": at, "limit": limit})
        return [WaitingEvent(*row) for row in rows]

    async def settle(self, event_ids: list[str], at: datetime) -> None:
        await self._database.execute(_SETTLE, {"event_ids": event_ids, "at": at})

    async def _keep(self, heard: Sequence[_Heard]) -> Sequence[datetime | None]:
        values = {
            "events": json.dumps([one.event._asdict() | {"relevant": one.relevant} for one in heard], default=str),
            "at": max(one.at for one in heard),
            "grace": GRACE,
        }
        rows = await self._database.fetch_all(_KEEP, values)
        due = {row.event_id: row.due_time for row in rows}
        return [due.get(one.event.event_id) for one in heard]


class StoredDuties:
    """Payments whose check is due; leasing one puts its next check further off."""

    def __init__(self, worker_database: Database) -> None:
        self._database = worker_database

    async def lease(self, at: datetime, limit: int) -> list[DuePayment]:
        rows = await self._database.fetch_all(_LEASE_PAYMENTS, {"at": at, "limit": limit})
        return [DuePayment(*row) for row in rows]


async def purge_events(connection: AsyncConnection, before: datetime) -> int:
    """Forget one batch of events received before `before`; returns how many."""
    done = provider_events.c.state != "WAITING"
    batch = select(provider_events.c.event_id).where(provider_events.c.receive_time < before, done).limit(PURGE_BATCH)
    return (await connection.execute(delete(provider_events).where(provider_events.c.event_id.in_(batch)))).rowcount
