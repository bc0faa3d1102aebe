"""Stored bookings: each change with its history and its event is one statement and one round trip."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import errors as pg
from sqlalchemy import ColumnElement, func, select

from services.booking.domain import Booking, Fact, Status, Transition, fact_of
from services.booking.domain.codes import new_code
from services.booking.ports import Listed, News, Repeated, Stale, Window
from services.booking.store.memory import Memory
from services.booking.store.rows import booking_of, changes, new_row
from services.booking.store.tables import booking_history, bookings
from services.booking.wire import TOPIC, event_of
from services.chassis.db import Database, HotStatement
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency import store as idempotency
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.inbox import AlreadyApplied
from services.chassis.inbox import claim as claim_event

CONSUMER = "booking"  # how booking's inbox rows are named
MAX_TRIES = 3  # of storing a booking: a second is needed once in billions, when two have drawn one code

_CREATE = "SELECT booking_id, request_hash FROM create_booking(%s::jsonb, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_SAVE = "SELECT save_booking(%s, %s, %s, %s::jsonb, %s, %s, %s, %s, %s) AS stored"
_READ = "SELECT * FROM read_booking(%s, %s)"

# The worker's: over all tenants. Taking and postponing are no changes of the booking, so its version stays.
_TAKE_DUE = """
    UPDATE bookings SET run_time = %s, attempts = attempts + 1
    WHERE booking_id IN (
        SELECT booking_id FROM bookings WHERE run_time <= %s ORDER BY run_time LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING *
"""
_TAKE_OVER = """
    UPDATE bookings SET run_time = %s, attempts = attempts + 1
    WHERE booking_id = %s AND tenant_id = %s AND version = %s AND run_time <= %s
    RETURNING *
"""
_POSTPONE = "UPDATE bookings SET run_time = %s WHERE booking_id = %s AND version = %s AND run_time IS NOT NULL"


class StoredBookings:
    """Bookings in PostgreSQL; what acts for a tenant does so under row security."""

    def __init__(
        self,
        database: Database,
        worker_database: Database,
        *,
        wake: Callable[[], None] = lambda: None,
        traceparent: Callable[[], str] = lambda: "",
    ) -> None:
        """`wake` is told when an event was stored; `traceparent` names the trace that it belongs to."""
        self._database = database
        self._create = HotStatement(database, _CREATE)
        self._save = HotStatement(database, _SAVE)
        self._read = HotStatement(database, _READ)
        self._memory = Memory()
        self._worker_database = worker_database
        self._wake = wake
        self._traceparent = traceparent

    async def add(self, booking: Booking, key: IdempotencyKey | None) -> str:
        for _ in range(MAX_TRIES):
            try:
                found = await self._add(booking, key)
                if found is not None:
                    return found
            except pg.UniqueViolation as error:
                if error.diag.constraint_name != "bookings_confirmation_code":
                    raise
                booking = replace(booking, confirmation_code=new_code())
        raise RuntimeError("Neither key nor confirmation code come to rest.")

    async def get(self, tenant_id: str, booking_id: str) -> Booking | None:
        row = await self._read.fetch_one(booking_id, (tenant_id, booking_id))
        return booking_of(row) if row is not None else None

    async def save(
        self, before: Booking, after: Booking, *, key: IdempotencyKey | None = None, news: News | None = None
    ) -> Booking:
        saved = replace(after, version=before.version + 1)
        fact = fact_of(before, saved)
        parameters = (
            before.tenant_id,
            before.booking_id,
            before.version,
            _json(changes(before, after)),
            *self._event(fact),
        )
        if key is None and news is None:
            row = await self._save.fetch_one(before.booking_id, parameters)
            stored = row is not None and row.stored
        else:
            stored = await self._database.run_again(lambda: self._save_with(parameters, before, after, key, news))
        if not stored:
            self._memory.left(before.booking_id)
            raise Stale
        if fact is not None:
            self._wake()
        self._memory.stored(saved)
        return saved

    def needs_no_news(self, booking_id: str, payment_version: int, now: datetime) -> bool:
        return self._memory.needs_no_news(booking_id, payment_version, now)

    async def first_use(self, key: IdempotencyKey) -> str | None:
        async with self._database.transaction(key.tenant_id) as connection:
            found = await idempotency.find(connection, key)
        return found.resource_id if found is not None else None

    async def take_over(self, booking: Booking, now: datetime, lease: datetime) -> Booking | None:
        row = await self._worker_database.fetch_one(
            _TAKE_OVER, (lease, booking.booking_id, booking.tenant_id, booking.version, now)
        )
        return booking_of(row) if row is not None else None

    async def postpone(self, booking: Booking, run_time: datetime) -> None:
        self._memory.left(booking.booking_id)
        await self._worker_database.execute(_POSTPONE, (run_time, booking.booking_id, booking.version))

    async def take_due(self, now: datetime, lease: datetime, limit: int) -> list[Booking]:
        rows = await self._worker_database.fetch_all(_TAKE_DUE, (lease, now, limit))
        return [booking_of(row) for row in rows]

    async def of_user(self, tenant_id: str, user_id: str, status: Status | None, window: Window) -> Listed:
        return await self._list(tenant_id, bookings.c.user_id == user_id, status, window)

    async def of_vendor(self, tenant_id: str, vendor_id: str, status: Status | None, window: Window) -> Listed:
        return await self._list(tenant_id, bookings.c.vendor_id == vendor_id, status, window)

    async def history(self, tenant_id: str, booking_id: str) -> tuple[Transition, ...]:
        query = (
            select(booking_history)
            .where(booking_history.c.booking_id == booking_id)
            .order_by(booking_history.c.version)
        )
        async with self._database.transaction(tenant_id) as connection:
            rows = (await connection.execute(query)).all()
        return tuple(
            Transition(
                Status(row.from_status) if row.from_status else None,
                Status(row.to_status),
                row.transition_time,
                row.actor,
                row.reason,
            )
            for row in rows
        )

    async def _add(self, booking: Booking, key: IdempotencyKey | None) -> str | None:
        named = (key.principal, key.method, key.key, key.request_hash) if key is not None else (None,) * 4
        row = await self._create.fetch_one(
            booking.booking_id, (_json(new_row(booking)), *named, *self._event(fact_of(None, booking)))
        )
        if row is None:
            return None  # the key's row was purged between two statements: it is free again
        if row.booking_id == booking.booking_id:
            self._memory.stored(booking)
            self._wake()
        elif key is not None and row.request_hash != key.request_hash:
            raise IdempotencyKeyReused
        return str(row.booking_id)

    async def _save_with(
        self,
        parameters: tuple[object, ...],
        before: Booking,
        after: Booking,
        key: IdempotencyKey | None,
        news: News | None,
    ) -> bool:
        async with self._database.transaction(before.tenant_id) as connection:
            if (
                key is not None
                and not (await idempotency.claim(connection, key, before.booking_id, after.update_time)).first
            ):
                raise Repeated
            if news is not None:
                await _take_note(connection, news, after.update_time)
            stored = (await connection.exec_driver_sql(_SAVE, parameters)).scalar_one()
            if not stored:
                # Out through an exception, so that neither key nor event stays taken.
                raise Stale
            return True

    def _event(self, fact: Fact | None) -> tuple[object, ...]:
        if fact is None:
            return (None, None, None, None, None)
        kind, payload = event_of(fact)
        event_id = new_id("evt", at=fact.booking.update_time, shard=shard_of(fact.booking.booking_id))
        return (event_id, TOPIC, kind, payload, self._traceparent())

    async def _list(self, tenant_id: str, whose: ColumnElement[bool], status: Status | None, window: Window) -> Listed:
        # Row security says the tenant too; said here, the index is used from its first column on.
        where = (bookings.c.tenant_id == tenant_id) & whose
        if status is not None:
            where &= bookings.c.status == status
        page = select(bookings).where(where).order_by(bookings.c.booking_id.desc())
        if window.after:
            page = page.where(bookings.c.booking_id < window.after)
        async with self._database.transaction(tenant_id) as connection:
            rows = (await connection.execute(page.offset(window.skip).limit(window.limit + 1))).all()
            total = (await connection.execute(select(func.count()).select_from(bookings).where(where))).scalar_one()
        found = tuple(booking_of(row) for row in rows[: window.limit])
        return Listed(found, total, more=len(rows) > window.limit)


async def _take_note(connection: Any, news: News, at: datetime) -> None:
    try:
        await claim_event(connection, CONSUMER, news.event_id, news.type, at)
    except AlreadyApplied:
        raise Repeated from None


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
