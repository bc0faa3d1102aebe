"""The idempotency table: which key was first used for what, and what was answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.errors import QueryCanceled
from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, Table, Text, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from services.chassis.db.rls import tenant_policy
from services.chassis.errors import IdempotencyInProgress, IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey

RETENTION = timedelta(hours=48)  # the contract promises 24 hours at least
RETRY_AFTER = timedelta(seconds=1)
PURGE_BATCH = 10_000  # rows

# For migrations: it stays as it is, so that old migrations keep meaning what they meant.
CREATE_V1: tuple[str, ...] = (
    """
    CREATE TABLE idempotency (
        tenant_id text NOT NULL,
        principal text NOT NULL,
        method text NOT NULL,
        key text NOT NULL,
        request_hash bytea NOT NULL,
        resource_id text NOT NULL,
        response bytea,
        create_time timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, principal, method, key)
    )
    """,
    "CREATE INDEX idempotency_create_time ON idempotency (create_time)",
    *tenant_policy("idempotency"),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose the key is: `first` where this call is the first with it; else what the first one made and answered."""

    resource_id: str
    first: bool
    response: bytes | None = None


def idempotency_table(metadata: MetaData) -> Table:
    """The table as the drift check and the repositories know it."""
    table = Table(
        "idempotency",
        metadata,
        Column("tenant_id", Text, primary_key=True),
        Column("principal", Text, primary_key=True),
        Column("method", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("request_hash", LargeBinary, nullable=False),
        Column("resource_id", Text, nullable=False),
        Column("response", LargeBinary),
        Column("create_time", DateTime(timezone=True), nullable=False),
    )
    Index("idempotency_create_time", table.c.create_time)
    return table


_KEYS = idempotency_table(MetaData())


async def claim(connection: AsyncConnection, key: IdempotencyKey, resource_id: str, at: datetime) -> Claim:
    """Claim the key for `resource_id` in the caller's transaction, or learn what it was first used for.

    While another transaction claims the same key this waits for its end: if it commits, its row is the answer; if it
    rolls back, this claim takes over. Out of time, the call is told that the first one is still running.
    """
    proposed = (
        insert(_KEYS)
        .values(
            tenant_id=key.tenant_id,
            principal=key.principal,
            method=key.method,
            key=key.key,
            request_hash=key.request_hash,
            resource_id=resource_id,
            create_time=at,
        )
        .on_conflict_do_nothing()
        .returning(_KEYS.c.resource_id)
    )
    while True:
        try:
            inserted = (await connection.execute(proposed)).first()
        except DBAPIError as error:
            if isinstance(error.orig, QueryCanceled):
                raise IdempotencyInProgress(retry_after=RETRY_AFTER) from error
            raise
        if inserted is not None:
            return Claim(resource_id, first=True)
        found = await find(connection, key)
        if found is not None:
            return found
        # The first one's row was purged between the two statements: the key is free again.


async def find(connection: AsyncConnection, key: IdempotencyKey) -> Claim | None:
    """What the key was first used for, if it was."""
    columns = (_KEYS.c.request_hash, _KEYS.c.resource_id, _KEYS.c.response)
    row = (await connection.execute(select(*columns).where(_is(key)))).first()
    if row is None:
        return None
    if row.request_hash != key.request_hash:
        raise IdempotencyKeyReused
    return Claim(row.resource_id, first=False, response=row.response)


async def save_response(connection: AsyncConnection, key: IdempotencyKey, response: bytes) -> None:
    """Keep the answer for those who send the key again; answers that carry secrets are read anew instead."""
    await connection.execute(update(_KEYS).where(_is(key)).values(response=response))


async def purge(connection: AsyncConnection, before: datetime) -> int:
    """Forget one batch of keys first used before `before`; returns how many."""
    primary = list(_KEYS.primary_key.columns)
    batch = select(*primary).where(_KEYS.c.create_time < before).limit(PURGE_BATCH).subquery()
    same = [column == batch.c[column.name] for column in primary]
    return (await connection.execute(delete(_KEYS).where(*same))).rowcount


def _is(key: IdempotencyKey) -> ColumnElement[bool]:
    return and_(
        _KEYS.c.tenant_id == key.tenant_id,
        _KEYS.c.principal == key.principal,
        _KEYS.c.method == key.method,
        _KEYS.c.key == key.key,
    )
