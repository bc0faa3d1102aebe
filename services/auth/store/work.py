"""The unit of work: one transaction, its repositories, and what is told to others once it commits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Table, delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.auth.domain.facts import Fact
from services.auth.domain.keys import SigningKey
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import User
from services.auth.ports import Claimed
from services.auth.store.credentials import AttemptRows, ChallengeRows, SessionRows
from services.auth.store.people import TenantRows, UserRows, tenant_of, user_of
from services.auth.store.tables import attempts, challenges, idempotency, sessions, signing_keys, users
from services.chassis.db import Database, HotStatement
from services.chassis.idempotency import store as keys
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.outbox import OutboxEvent, append

PURGE_BATCH: Final = 1_000  # rows of each table
# Any number that no other advisory lock of this database uses.
_ROTATION_LOCK: Final = 7_110_001
_READ_CONTACT: Final = "SELECT * FROM read_contact(%s, %s)"

# Writes a fact about a person as the event that is published.
Encode = Callable[[Fact, str, int, datetime], OutboxEvent]


class KeyRows:
    """The idempotency keys over one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(self, key: IdempotencyKey, resource_id: str, at: datetime) -> Claimed:
        """Claim a key, or learn what it was first used for."""
        claimed = await keys.claim(self._connection, key, resource_id, at)
        return Claimed(claimed.resource_id, claimed.first, claimed.response)

    async def save_response(self, key: IdempotencyKey, response: bytes) -> None:
        """Keep what was answered."""
        await keys.save_response(self._connection, key, response)

    async def release(self, key: IdempotencyKey) -> None:
        """Give the key back."""
        columns = idempotency.c
        await self._connection.execute(
            delete(idempotency).where(
                columns.tenant_id == key.tenant_id,
                columns.principal == key.principal,
                columns.method == key.method,
                columns.key == key.key,
            )
        )


class FactRows:
    """The facts port: the outbox, each fact about a person with the next number of theirs."""

    def __init__(self, connection: AsyncConnection, tenant_id: str, encode: Encode) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._encode = encode

    async def tell(self, user_id: str, fact: Fact, at: datetime) -> None:
        """Append the fact."""
        counted = (
            update(users)
            .where(users.c.tenant_id == self._tenant_id, users.c.user_id == user_id)
            .values(fact_version=users.c.fact_version + 1)
            .returning(users.c.fact_version)
        )
        version = (await self._connection.execute(counted)).scalar_one()
        await append(self._connection, self._encode(fact, self._tenant_id, version, at))


class RowUnit:
    """The unit port over one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: str, encode: Encode) -> None:
        self.tenants = TenantRows(connection)
        self.users = UserRows(connection, tenant_id)
        self.challenges = ChallengeRows(connection, tenant_id)
        self.sessions = SessionRows(connection, tenant_id)
        self.attempts = AttemptRows(connection, tenant_id)
        self.keys = KeyRows(connection)
        self.facts = FactRows(connection, tenant_id, encode)


class SigningKeyRows:
    """The signing keys over one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[SigningKey]:
        """Every key."""
        return [_signing_key_of(row) for row in await self._connection.execute(select(signing_keys))]

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""
        await self._connection.execute(
            insert(signing_keys).values(
                key_id=key.key_id,
                public=key.public,
                sealed=key.sealed,
                create_time=key.create_time,
                sign_time=key.sign_time,
            )
        )

    async def hasten(self, key_id: str, sign_time: datetime) -> None:
        """Have a waiting key take over at another time."""
        await self._connection.execute(
            update(signing_keys).where(signing_keys.c.key_id == key_id).values(sign_time=sign_time)
        )

    async def forget(self, key_ids: Sequence[str]) -> None:
        """Delete keys."""
        await self._connection.execute(delete(signing_keys).where(signing_keys.c.key_id.in_(key_ids)))


class DatabaseWork:
    """The work port over PostgreSQL: requests under row security, the platform and the workers without it."""

    def __init__(self, database: Database, worker_database: Database, encode: Encode) -> None:
        self._database = database
        self._worker_database = worker_database
        self._read_contact = HotStatement(database, _READ_CONTACT)
        self._encode = encode

    @asynccontextmanager
    async def unit(self, tenant_id: str) -> AsyncIterator[RowUnit]:
        """One tenant's unit."""
        async with self._database.transaction(tenant_id) as connection:
            yield RowUnit(connection, tenant_id, self._encode)

    @asynccontextmanager
    async def platform(self, tenant_id: str) -> AsyncIterator[RowUnit]:
        """A platform administrator's unit: the only role that may write tenants is the worker's."""
        async with self._worker_database.transaction(tenant_id) as connection:
            yield RowUnit(connection, tenant_id, self._encode)

    @asynccontextmanager
    async def rotation(self) -> AsyncIterator[SigningKeyRows]:
        """A unit for the signing keys."""
        async with self._worker_database.system() as connection:
            # Of several processes that begin at once, one makes the first key and the others find it.
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ROTATION_LOCK})
            yield SigningKeyRows(connection)

    async def signing_keys(self) -> list[SigningKey]:
        """Every signing key, to read."""
        rows = await self._database.fetch_all("SELECT key_id, public, sealed, create_time, sign_time FROM signing_keys")
        return [_signing_key_of(row) for row in rows]

    async def tenant_by_slug(self, slug: str) -> Tenant | None:
        """The tenant that has the slug, in one round trip."""
        row = await self._database.fetch_one(
            "SELECT tenant_id, slug, display_name, status, create_time FROM tenants WHERE slug = %s", (slug,)
        )
        return tenant_of(row) if row is not None else None

    async def contact(self, tenant_id: str, user_id: str) -> tuple[User, Tenant] | None:
        """A person and their tenant, in one round trip."""
        row = await self._read_contact.fetch_one(user_id, (tenant_id, user_id))
        if row is None:
            return None
        tenant = Tenant(
            tenant_id=row.tenant_id,
            slug=row.slug,
            display_name=row.display_name,
            status=TenantStatus(row.tenant_status),
            create_time=row.tenant_create_time,
        )
        return user_of(row), tenant

    async def purge(self, otps_before: datetime, sessions_before: datetime, attempts_before: datetime) -> int:
        """Delete one batch of each."""
        old_session = or_(sessions.c.expire_time < sessions_before, sessions.c.end_time < sessions_before)
        gone = 0
        async with self._worker_database.system() as connection:
            gone += await _purge(connection, challenges, challenges.c.expire_time < otps_before)
            gone += await _purge(connection, sessions, old_session)
            gone += await _purge(connection, attempts, attempts.c.window_start < attempts_before)
        return gone


async def _purge(connection: AsyncConnection, table: Table, condition: ColumnElement[bool]) -> int:
    primary = list(table.primary_key.columns)
    # Rows that somebody holds are left for the next time.
    batch = select(*primary).where(condition).limit(PURGE_BATCH).with_for_update(skip_locked=True).cte("batch")
    same = [column == batch.c[column.name] for column in primary]
    return (await connection.execute(delete(table).where(*same))).rowcount


def _signing_key_of(row: object) -> SigningKey:
    columns = ("key_id", "public", "sealed", "create_time", "sign_time")
    return SigningKey(**{column: getattr(row, column) for column in columns})
