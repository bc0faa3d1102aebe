"""The outbox table: events waiting, in the producer's own transaction, to be published."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.db.engine import APPENDED
from services.chassis.db.rls import tenant_policy

PURGE_BATCH = 10_000  # rows

# For migrations: it stays as it is, so that old migrations keep meaning what they meant.
CREATE_V1: tuple[str, ...] = (
    """
    CREATE TABLE outbox (
        sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        event_id text NOT NULL CONSTRAINT outbox_event_id_key UNIQUE,
        tenant_id text NOT NULL,
        topic text NOT NULL,
        key text NOT NULL,
        type text NOT NULL,
        payload bytea NOT NULL,
        version bigint NOT NULL,
        event_time timestamptz NOT NULL,
        traceparent text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
        publish_time timestamptz
    )
    """,
    "CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE publish_time IS NULL",
    "CREATE INDEX outbox_published ON outbox (publish_time) WHERE publish_time IS NOT NULL",
    *tenant_policy("outbox"),
)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One fact: a serialised message of `berth.<svc>.events.v1` and what its consumers need to place it."""

    event_id: str  # evt_…
    tenant_id: str
    topic: str
    key: str  # what order is kept for, e.g. the booking's id
    type: str  # the message's full proto name
    payload: bytes
    version: int  # of the key's state; consumers ignore older ones
    time: datetime
    traceparent: str = ""


def outbox_table(metadata: MetaData) -> Table:
    """The table as the drift check and the repositories know it."""
    table = Table(
        "outbox",
        metadata,
        Column("sequence", BigInteger, Identity(always=True), primary_key=True),
        Column("event_id", Text, nullable=False, unique=True),
        Column("tenant_id", Text, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("type", Text, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("event_time", DateTime(timezone=True), nullable=False),
        Column("traceparent", Text, nullable=False, server_default=""),
        Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
        Column("publish_time", DateTime(timezone=True)),
    )
    Index("outbox_unpublished", table.c.sequence, postgresql_where=text("publish_time IS NULL"))
    Index("outbox_published", table.c.publish_time, postgresql_where=text("publish_time IS NOT NULL"))
    return table


_OUTBOX = outbox_table(MetaData())
_INSERT = insert(_OUTBOX)


async def append(connection: AsyncConnection, *events: OutboxEvent) -> None:
    """Store events in the caller's transaction; the relay is woken once it has committed."""
    if not events:
        return
    rows = [
        {
            "event_id": event.event_id,
            "tenant_id": event.tenant_id,
            "topic": event.topic,
            "key": event.key,
            "type": event.type,
            "payload": event.payload,
            "version": event.version,
            "event_time": event.time,
            "traceparent": event.traceparent,
        }
        for event in events
    ]
    # The rows as parameters, not as part of the statement: so it is compiled once, however many there are.
    await connection.execute(_INSERT, rows)
    connection.info[APPENDED] = True


async def purge(connection: AsyncConnection, before: datetime) -> int:
    """Forget one batch of events published before `before`; returns how many."""
    batch = select(_OUTBOX.c.sequence).where(_OUTBOX.c.publish_time < before).limit(PURGE_BATCH)
    return (await connection.execute(delete(_OUTBOX).where(_OUTBOX.c.sequence.in_(batch)))).rowcount
