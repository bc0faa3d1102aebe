"""Notification's tables and the repositories over them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.db import Database, HotStatement
from services.chassis.idempotency import store as keys
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.inbox import inbox_tables
from services.chassis.money import Money
from services.chassis.retention import CHASSIS_JOBS, Job
from services.notification.domain import Delivery, Intake, Kind, Notification, Source, Status, Subject

CONSUMER: Final = "notification"
PURGE_BATCH: Final = 5_000  # rows
MAX_ERROR: Final = 200  # characters
METADATA = MetaData()

deliveries = Table(
    "deliveries",
    METADATA,
    Column("delivery_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("urgent", Boolean, nullable=False),
    Column("booking_id", Text, nullable=False),
    Column("challenge_id", Text, nullable=False),
    Column("refund_currency", Text),
    Column("refund_minor", BigInteger),
    Column("expire_time", DateTime(timezone=True)),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("next_try_time", DateTime(timezone=True), nullable=False),
    Column("sent_time", DateTime(timezone=True)),
    UniqueConstraint("event_id", "user_id", "channel", name="deliveries_once_key"),
    CheckConstraint("status IN ('QUEUED', 'SENT', 'FAILED', 'DROPPED')", name="deliveries_status_check"),
    CheckConstraint("(status = 'SENT') = (sent_time IS NOT NULL)", name="deliveries_sent_check"),
)
Index(
    "deliveries_due",
    deliveries.c.urgent.desc(),
    deliveries.c.next_try_time,
    postgresql_where=text("status = 'QUEUED'"),
)
Index("deliveries_newest", deliveries.c.tenant_id, deliveries.c.delivery_id.desc())
Index("deliveries_create_time", deliveries.c.create_time)

notifications = Table(
    "notifications",
    METADATA,
    Column("notification_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("booking_id", Text, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("read_time", DateTime(timezone=True)),
    UniqueConstraint("event_id", "user_id", name="notifications_once_key"),
)
Index(
    "notifications_newest", notifications.c.tenant_id, notifications.c.user_id, notifications.c.notification_id.desc()
)
Index("notifications_create_time", notifications.c.create_time)

inbox_tables(METADATA)
keys.idempotency_table(METADATA)

_QUEUE = f"SELECT queue_delivery({', '.join(['%s'] * 17)}) AS intake"
_ADD = f"SELECT add_notification({', '.join(['%s'] * 9)})"
_TAKE = """
    UPDATE deliveries SET attempts = attempts + 1, next_try_time = %(again)s
    WHERE delivery_id IN (
        SELECT delivery_id FROM deliveries WHERE status = 'QUEUED' AND next_try_time <= %(now)s
        ORDER BY urgent DESC, next_try_time LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    RETURNING *
"""
_SETTLE = """
    UPDATE deliveries SET status = %(status)s, last_error = %(error)s, sent_time = %(sent_time)s
    WHERE delivery_id = %(delivery_id)s AND status = 'QUEUED'
"""
_POSTPONE = """
    UPDATE deliveries SET next_try_time = %(until)s, last_error = %(error)s
    WHERE delivery_id = %(delivery_id)s AND status = 'QUEUED'
"""


class DeliveryRows:
    """The delivery log in PostgreSQL. Each of the queue's steps is one statement."""

    def __init__(self, database: Database, worker_database: Database) -> None:
        self._database = database
        self._queue = HotStatement(database, _QUEUE)
        self._worker = worker_database

    async def queue(self, delivery: Delivery, source: Source, at: datetime) -> Intake:
        """Note the event as applied and queue its message."""
        subject = delivery.subject
        row = await self._queue.fetch_one(
            source.key,
            (
                CONSUMER,
                source.type,
                source.topic,
                source.key,
                source.version,
                at,
                delivery.delivery_id,
                delivery.tenant_id,
                delivery.event_id,
                delivery.user_id,
                str(subject.kind),
                subject.kind.urgent,
                subject.booking_id,
                subject.challenge_id,
                subject.refund.currency if subject.refund is not None else None,
                subject.refund.minor if subject.refund is not None else None,
                subject.expire_time,
            ),
        )
        if row is None:
            raise AssertionError("A function call without a row is impossible.")
        return Intake(row.intake)

    async def take(self, now: datetime, again: datetime, limit: int) -> Sequence[Delivery]:
        """Take what is due, urgent first."""
        rows = await self._worker.fetch_all(_TAKE, {"now": now, "again": again, "limit": limit})
        return [_delivery(row) for row in rows]

    async def settle(self, delivery: Delivery, status: Status, at: datetime, error: str = "") -> None:
        """End a queued delivery."""
        sent_time = at if status is Status.SENT else None
        await self._worker.execute(
            _SETTLE,
            {
                "delivery_id": delivery.delivery_id,
                "status": str(status),
                "error": error[:MAX_ERROR],
                "sent_time": sent_time,
            },
        )

    async def postpone(self, delivery: Delivery, until: datetime, error: str) -> None:
        """Try a queued delivery again at `until`."""
        await self._worker.execute(
            _POSTPONE, {"delivery_id": delivery.delivery_id, "until": until, "error": error[:MAX_ERROR]}
        )

    async def page(self, tenant_id: str, after: str, size: int, status: Status | None) -> Sequence[Delivery]:
        """The tenant's deliveries, newest first."""
        columns = deliveries.c
        query = select(deliveries).order_by(columns.delivery_id.desc()).limit(size)
        if after:
            query = query.where(columns.delivery_id < after)
        if status is not None:
            query = query.where(columns.status == status)
        async with self._database.transaction(tenant_id) as connection:
            return [_delivery(row) for row in (await connection.execute(query)).all()]


class InboxRows:
    """People's inboxes in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, notification: Notification) -> None:
        """Add a message once."""
        await self._database.execute(
            _ADD,
            (
                notification.notification_id,
                notification.tenant_id,
                notification.user_id,
                notification.event_id,
                str(notification.kind),
                notification.title,
                notification.body,
                notification.booking_id,
                notification.create_time,
            ),
        )

    async def page(
        self, tenant_id: str, user_id: str, after: str, size: int, *, unread: bool
    ) -> Sequence[Notification]:
        """A person's messages, newest first."""
        columns = notifications.c
        query = select(notifications).where(columns.user_id == user_id)
        query = query.order_by(columns.notification_id.desc()).limit(size)
        if after:
            query = query.where(columns.notification_id < after)
        if unread:
            query = query.where(columns.read_time.is_(None))
        async with self._database.transaction(tenant_id) as connection:
            return [_notification(row) for row in (await connection.execute(query)).all()]

    async def read(
        self, tenant_id: str, user_id: str, notification_id: str, at: datetime, key: IdempotencyKey | None
    ) -> Notification | None:
        """Mark as read, unless it was already."""
        columns = notifications.c
        statement = (
            update(notifications)
            .where(columns.notification_id == notification_id, columns.user_id == user_id)
            .values(read_time=func.coalesce(columns.read_time, at))
            .returning(*columns)
        )
        async with self._database.transaction(tenant_id) as connection:
            row = (await connection.execute(statement)).first()
            if row is not None and key is not None:
                await keys.claim(connection, key, notification_id, at)
        return _notification(row) if row is not None else None


async def _purge(table: Table, key: str, connection: AsyncConnection, before: datetime) -> int:
    old = select(table.c[key]).where(table.c.create_time < before).limit(PURGE_BATCH)
    return (await connection.execute(delete(table).where(table.c[key].in_(old)))).rowcount


async def _purge_deliveries(connection: AsyncConnection, before: datetime) -> int:
    return await _purge(deliveries, "delivery_id", connection, before)


async def _purge_notifications(connection: AsyncConnection, before: datetime) -> int:
    return await _purge(notifications, "notification_id", connection, before)


RETENTION_JOBS: Final = (
    *CHASSIS_JOBS,
    Job("deliveries", timedelta(days=180), _purge_deliveries),
    Job("notifications", timedelta(days=365), _purge_notifications),
)


def _delivery(row: Any) -> Delivery:
    refund = Money(row.refund_currency, row.refund_minor) if row.refund_currency is not None else None
    return Delivery(
        delivery_id=row.delivery_id,
        tenant_id=row.tenant_id,
        event_id=row.event_id,
        user_id=row.user_id,
        subject=Subject(Kind(row.kind), row.booking_id, row.challenge_id, refund, row.expire_time),
        status=Status(row.status),
        attempts=row.attempts,
        create_time=row.create_time,
        last_error=row.last_error,
        sent_time=row.sent_time,
    )


def _notification(row: Any) -> Notification:
    return Notification(
        notification_id=row.notification_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        event_id=row.event_id,
        kind=Kind(row.kind),
        title=row.title,
        body=row.body,
        booking_id=row.booking_id,
        create_time=row.create_time,
        read_time=row.read_time,
    )
