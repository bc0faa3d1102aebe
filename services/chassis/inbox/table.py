"""The inbox tables: which events a consumer has applied, and how far each key has come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Column, DateTime, Index, MetaData, Table, Text, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

PURGE_BATCH = 10_000  # rows

# For migrations: it stays as it is, so that old migrations keep meaning what they meant.
CREATE_V1: tuple[str, ...] = (
    """
    CREATE TABLE inbox (
        consumer text NOT NULL,
        event_id text NOT NULL,
        type text NOT NULL,
        apply_time timestamptz NOT NULL,
        PRIMARY KEY (consumer, event_id)
    )
    """,
    "CREATE INDEX inbox_apply_time ON inbox (apply_time)",
    """
    CREATE TABLE inbox_version (
        consumer text NOT NULL,
        topic text NOT NULL,
        key text NOT NULL,
        version bigint NOT NULL,
        apply_time timestamptz NOT NULL,
        PRIMARY KEY (consumer, topic, key)
    )
    """,
    "CREATE INDEX inbox_version_apply_time ON inbox_version (apply_time)",
)


class AlreadyApplied(Exception):
    """The consumer has applied the event before; there is nothing left to do."""


def inbox_tables(metadata: MetaData) -> tuple[Table, Table]:
    """The tables as the drift check knows them: applied events, and versions by key."""
    inbox = Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event_id", Text, primary_key=True),
        Column("type", Text, nullable=False),
        Column("apply_time", DateTime(timezone=True), nullable=False),
    )
    Index("inbox_apply_time", inbox.c.apply_time)
    versions = Table(
        "inbox_version",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("topic", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("apply_time", DateTime(timezone=True), nullable=False),
    )
    Index("inbox_version_apply_time", versions.c.apply_time)
    return inbox, versions


_INBOX, _VERSIONS = inbox_tables(MetaData())


async def claim(connection: AsyncConnection, consumer: str, event_id: str, event_type: str, at: datetime) -> None:
    """Claim an event in the transaction that applies it; raises AlreadyApplied for one that was.

    A second claim that races the first waits for its end, and takes over when the first rolls back.
    """
    statement = (
        insert(_INBOX)
        .values(consumer=consumer, event_id=event_id, type=event_type, apply_time=at)
        .on_conflict_do_nothing()
        .returning(_INBOX.c.event_id)
    )
    if (await connection.execute(statement)).first() is None:
        raise AlreadyApplied(event_id)


async def is_stale(
    connection: AsyncConnection, consumer: str, topic: str, key: str, version: int, at: datetime
) -> bool:
    """Whether a newer or the same version of the key's state was applied before; otherwise this one is noted.

    The key's row stays locked until the transaction ends, so two versions of one key never apply side by side.
    """
    proposed = insert(_VERSIONS).values(consumer=consumer, topic=topic, key=key, version=version, apply_time=at)
    statement = proposed.on_conflict_do_update(
        index_elements=[_VERSIONS.c.consumer, _VERSIONS.c.topic, _VERSIONS.c.key],
        set_={"version": proposed.excluded.version, "apply_time": proposed.excluded.apply_time},
        where=_VERSIONS.c.version < proposed.excluded.version,
    ).returning(_VERSIONS.c.version)
    return (await connection.execute(statement)).first() is None


async def purge(connection: AsyncConnection, before: datetime) -> int:
    """Forget one batch of what was applied before `before`; returns how many rows went."""
    gone = 0
    for table in (_INBOX, _VERSIONS):
        keys = list(table.primary_key.columns)
        batch = select(*keys).where(table.c.apply_time < before).limit(PURGE_BATCH).subquery()
        same = [column == batch.c[column.name] for column in keys]
        gone += (await connection.execute(delete(table).where(*same))).rowcount
    return gone
