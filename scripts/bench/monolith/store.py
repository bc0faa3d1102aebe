"""Owns the monolith's SQL: the services' own tables and functions, through SQLAlchemy, inside one transaction."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from services.booking.domain import Booking, fact_of
from services.booking.store.rows import booking_of, changes, new_row
from services.booking.store.tables import bookings
from services.booking.wire import TOPIC as BOOKING_TOPIC
from services.booking.wire import event_of as booking_event
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.outbox import OutboxEvent, append
from services.payment.domain.ledger import Entry, Line
from services.payment.domain.payments import Change, Payment, next_check
from services.payment.store.tables import accounts, booking_payments, journal_entries, payments, postings
from services.payment.wire import TOPIC as PAYMENT_TOPIC
from services.payment.wire import event_of as payment_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.chassis.db import Database

POOL_SIZE = 8  # connections of one process, as each of the mesh's services has
# Prepared when first used, as the mesh's hot statements are.
PREPARED = {"prepare_threshold": 0}
OVERFLOW = 8  # for whoever must read something more while it holds one

T = TypeVar("T")
_NUMBER = re.compile(r"\$\d+")


class StaleError(Exception):
    """Somebody else has changed it first: read it again, and decide again."""


def open_engine(url: str) -> AsyncEngine:
    """The one door to the one database."""
    address = url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_async_engine(address, pool_size=POOL_SIZE, max_overflow=OVERFLOW, connect_args=PREPARED)


class _Stores:
    """What the services' stores ask beyond the rows."""

    async def fetch_all(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """The rows of one statement."""
        raise NotImplementedError

    async def fetch_one(self, statement: str, parameters: Sequence[Any] = ()) -> Any | None:
        """The first of them."""
        return next(iter(await self.fetch_all(statement, parameters)), None)

    async def fetch_numbered(self, statement: str, parameters: Sequence[Any]) -> Sequence[Any]:
        """The rows of one whose parameters are numbered, in their order."""
        return await self.fetch_all(_NUMBER.sub("%s", statement), parameters)

    async def in_time(self, work: Awaitable[T]) -> T:
        """What the work answers: the monolith's calls have no deadline."""
        return await work

    def as_database(self) -> Database:
        """For the stores, which name the chassis's class and need no more of it than this."""
        return cast("Database", self)


class OneDatabase(_Stores):
    """Each call a transaction of the engine's."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def transaction(self, tenant_id: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees and writes one tenant's rows only."""
        return self._begin(tenant_id)

    async def fetch_all(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """The rows of one statement."""
        async with self._engine.begin() as connection:
            return await OneTransaction(connection).fetch_all(statement, parameters)

    @asynccontextmanager
    async def _begin(self, tenant_id: str) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            await connection.execute(_SET_TENANT, {"tenant": tenant_id})
            yield connection


class OneTransaction(_Stores):
    """The same inside of a transaction that has begun."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch_all(self, statement: str, parameters: Sequence[Any] = ()) -> Sequence[Any]:
        """The rows of one statement."""
        return (await self._connection.exec_driver_sql(statement, tuple(parameters))).all()


# Built once; values travel as parameters, so that each is compiled once too.
_SET_TENANT = text("SELECT set_config('berth.tenant', :tenant, true)")
_READ_BOOKING = select(bookings).where(bookings.c.booking_id == bindparam("which"))
_ADD_BOOKING = insert(bookings)
_SAVE_BOOKING = update(bookings).where(
    bookings.c.booking_id == bindparam("which"), bookings.c.version == bindparam("expected")
)
_ADD_BOOKING_PAYMENT = insert(booking_payments)
_COUNT_EVENTS = (
    update(booking_payments)
    .where(booking_payments.c.booking_id == bindparam("which"))
    .values(event_version=booking_payments.c.event_version + bindparam("more"))
    .returning(booking_payments.c.event_version)
)
_ADD_PAYMENT = insert(payments)
_SAVE_PAYMENT = update(payments).where(
    payments.c.payment_id == bindparam("which"), payments.c.version == bindparam("expected")
)
_ADD_ACCOUNT = upsert(accounts).on_conflict_do_nothing()
_ADD_ENTRY = insert(journal_entries).returning(journal_entries.c.kind, journal_entries.c.entry_id)
# What returns something goes in one statement, and the ledger wants to see lines together.
_ADD_POSTING = insert(postings).returning(postings.c.entry_id)


async def read_booking(connection: AsyncConnection, booking_id: str) -> Booking | None:
    """A booking as it stands."""
    row = (await connection.execute(_READ_BOOKING, {"which": booking_id})).first()
    return booking_of(row) if row is not None else None


async def add_booking(
    connection: AsyncConnection, asked: Booking, held: Booking, key: IdempotencyKey | None
) -> Booking:
    """Stores a booking whose units are kept already, with its event; a trigger writes its history."""
    named = [key.principal, key.method, key.key] if key is not None else None
    row = new_row(asked) | changes(asked, held) | {"idempotency_key": named}
    await connection.execute(_ADD_BOOKING, row)
    await append(connection, _booking_event(None, held))
    return held


async def save_booking(connection: AsyncConnection, before: Booking, after: Booking, saved: Booking) -> None:
    """Stores a booking's next version with its event; StaleError where it has moved."""
    changed = changes(before, after) | {"version": saved.version}
    done = await connection.execute(_SAVE_BOOKING, changed | {"which": before.booking_id, "expected": before.version})
    if done.rowcount != 1:
        raise StaleError
    if fact_of(before, saved) is not None:
        await append(connection, _booking_event(before, saved))


async def add_payment(connection: AsyncConnection, payment: Payment) -> None:
    """Stores a payment that the provider is about to be asked for."""
    await connection.execute(_ADD_BOOKING_PAYMENT, {"booking_id": payment.booking_id, "tenant_id": payment.tenant_id})
    row = _payment_row(payment) | {"check_time": next_check(payment, payment.create_time)}
    await connection.execute(_ADD_PAYMENT, row)


async def save_payment(connection: AsyncConnection, change: Change) -> None:
    """Stores a payment's next version with its ledger entries and events; StaleError where it has moved."""
    payment = change.payment
    # The lock order of all that moves money: first the booking's row.
    counted = await connection.execute(_COUNT_EVENTS, {"which": payment.booking_id, "more": len(change.facts)})
    version = counted.scalar_one()
    changed = _payment_row(payment) | {"check_time": change.check_time, "check_count": 0}
    done = await connection.execute(
        _SAVE_PAYMENT, changed | {"which": payment.payment_id, "expected": change.expected_version}
    )
    if done.rowcount != 1:
        raise StaleError
    if change.entries:
        await _post(connection, payment, change.entries)
    first = version - len(change.facts) + 1
    await append(connection, *(_payment_event(payment, fact, first + n) for n, fact in enumerate(change.facts)))


async def _post(connection: AsyncConnection, payment: Payment, entries: Sequence[Entry]) -> None:
    lines = [[_line_row(payment.tenant_id, line) for line in entry.lines] for entry in entries]
    known = {line["account_id"]: line for entry in lines for line in entry}
    wanted = [{name: line[name] for name in _ACCOUNT} for line in known.values()]
    await connection.execute(_ADD_ACCOUNT, wanted)
    rows = [
        {
            "tenant_id": payment.tenant_id,
            "kind": entry.kind,
            "booking_id": payment.booking_id,
            "payment_id": payment.payment_id,
            "refund_id": entry.refund_id,
            "entry_time": payment.update_time,
        }
        for entry in entries
    ]
    numbered = await connection.execute(_ADD_ENTRY, rows)
    numbers = {row.kind: row.entry_id for row in numbered}
    moved = [
        {"entry_id": numbers[entry.kind], **{name: line[name] for name in _POSTING}}
        for entry, its_lines in zip(entries, lines, strict=True)
        for line in its_lines
    ]
    await connection.execute(_ADD_POSTING, moved)


_ACCOUNT = ("account_id", "tenant_id", "kind", "vendor_id", "currency")
_POSTING = ("account_id", "tenant_id", "currency", "amount_minor")


def _line_row(tenant_id: str, line: Line) -> Mapping[str, Any]:
    named = (tenant_id, line.account.lower(), line.vendor_id, line.amount.currency)
    return {
        "account_id": "/".join(filter(None, named)),
        "tenant_id": tenant_id,
        "kind": line.account,
        "vendor_id": line.vendor_id,
        "currency": line.amount.currency,
        "amount_minor": line.amount.minor,
    }


def _payment_row(payment: Payment) -> dict[str, Any]:
    return {
        "payment_id": payment.payment_id,
        "tenant_id": payment.tenant_id,
        "booking_id": payment.booking_id,
        "step": payment.step,
        "user_id": payment.user_id,
        "vendor_id": payment.vendor_id,
        "currency": payment.amount.currency,
        "amount_minor": payment.amount.minor,
        "captured_minor": payment.captured.minor,
        "refunded_minor": payment.refunded.minor,
        "fee_currency": payment.fee.currency if payment.fee else None,
        "fee_minor": payment.fee.minor if payment.fee else None,
        "manual_capture": payment.manual_capture,
        "status": payment.status,
        "last_error": payment.last_error,
        "provider_intent_id": payment.provider_intent_id,
        "provider_charge_id": payment.provider_charge_id,
        "attempt": payment.attempt,
        "attempt_time": payment.attempt_time,
        "create_time": payment.create_time,
        "update_time": payment.update_time,
        "version": payment.version,
    }


def _booking_event(before: Booking | None, after: Booking) -> OutboxEvent:
    fact = fact_of(before, after)
    if fact is None:
        raise ValueError("Only a transition is told.")
    kind, payload = booking_event(fact)
    return OutboxEvent(
        event_id=new_id("evt", at=after.update_time, shard=shard_of(after.booking_id)),
        tenant_id=after.tenant_id,
        topic=BOOKING_TOPIC,
        key=after.booking_id,
        type=kind,
        payload=payload,
        version=after.version,
        time=after.update_time,
    )


def _payment_event(payment: Payment, fact: Any, version: int) -> OutboxEvent:
    kind, payload = payment_event(fact)
    return OutboxEvent(
        event_id=new_id("evt", at=payment.update_time, shard=shard_of(payment.booking_id)),
        tenant_id=payment.tenant_id,
        topic=PAYMENT_TOPIC,
        key=payment.booking_id,
        type=kind,
        payload=payload,
        version=version,
        time=payment.update_time,
    )
