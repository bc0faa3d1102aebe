"""The one door to PostgreSQL: a pool, transactions bound to a tenant, hot statements in one round trip."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg import sql as pgsql
from psycopg.rows import namedtuple_row
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from services.chassis.db.counting import Counter
from services.chassis.db.faults import is_passing, refusal_for
from services.chassis.db.pool import PooledConnection, WarmPool
from services.chassis.errors import DeadlineExceeded, DependencyUnavailable

POOL_SIZE = 8  # connections
CONNECT_TIMEOUT_SECONDS = 3
STATEMENT_TIMEOUT_SECONDS = 30.0  # where no deadline says less
IDLE_IN_TRANSACTION_SECONDS = 30.0  # a transaction that stands still this long is ended by the server
MAX_ATTEMPTS = 8  # of a transaction that others made fail
FIRST_BACKOFF_SECONDS = 0.005
MAX_BACKOFF_SECONDS = 0.25

APPENDED = "appended_to_outbox"  # set in a connection's info by whoever appends an event

Parameters = Sequence[object] | Mapping[str, object]
T = TypeVar("T")


def no_deadline() -> float | None:
    """The remaining time where nothing limits it."""
    return None


class Database:
    """One role's access to one database.

    `remaining` tells the seconds that the current call has left, or None; statements are cut off by it.
    """

    def __init__(
        self, url: str, *, pool_size: int = POOL_SIZE, remaining: Callable[[], float | None] = no_deadline
    ) -> None:
        self._url = url
        self._settings: dict[str, Any] = {
            "autocommit": True,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "keepalives_idle": 10,
            "tcp_user_timeout": 10_000,
            "options": (
                f"-c TimeZone=UTC -c statement_timeout={round(STATEMENT_TIMEOUT_SECONDS * 1000)}"
                f" -c idle_in_transaction_session_timeout={round(IDLE_IN_TRANSACTION_SECONDS * 1000)}"
            ),
        }
        self._remaining = remaining
        self._opening: PooledConnection | None = None
        self._opening_lock = asyncio.Lock()
        self._wake: Callable[[], None] | None = None
        self.listeners: list[Counter] = []
        self._pool = WarmPool(url, size=pool_size, settings=self._settings, prepare=self._add_session)
        # SQLAlchemy pools nothing: its connections are views of ours.
        self._engine: AsyncEngine = create_async_engine(
            "postgresql+psycopg://", poolclass=NullPool, async_creator=self._give_opening, use_native_hstore=False
        )
        event.listen(self._engine.sync_engine, "before_cursor_execute", self._count_statement)

    async def open(self) -> None:
        """Start connecting; a database that is out is no error yet."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()
        await self._engine.dispose()

    async def ping(self) -> bool:
        """Whether the database answers, for the health check."""
        try:
            await self.execute("SELECT 1")
        except (DependencyUnavailable, DeadlineExceeded):
            return False
        return True

    def on_event(self, wake: Callable[[], None]) -> None:
        """Have `wake` called after each commit that appended to the outbox."""
        self._wake = wake

    def transaction(self, tenant_id: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that sees and writes one tenant's rows only; it commits when the block ends well."""
        if not tenant_id:
            raise ValueError("A transaction needs a tenant; background work over all of them uses system().")
        return self._begin(tenant_id)

    def system(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction without a tenant: under row security it sees nothing, with the worker's role everything."""
        return self._begin(None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """A connection outside the pool, in autocommit: for locks and notifications that live as long as it."""
        connection = await psycopg.AsyncConnection[tuple[Any, ...]].connect(self._url, **self._settings)
        try:
            yield connection
        finally:
            await connection.close()

    async def fetch_one(self, statement: str, parameters: Parameters | None = None) -> Any | None:
        """The first row, as a named tuple, of one statement that is a transaction by itself."""
        rows = await self._run_hot(statement, parameters)
        return rows[0] if rows else None

    async def fetch_all(self, statement: str, parameters: Parameters | None = None) -> list[Any]:
        """The rows, as named tuples, of one statement that is a transaction by itself."""
        return await self._run_hot(statement, parameters)

    async def fetch_numbered(self, statement: str, parameters: Sequence[object]) -> list[Any]:
        """As `fetch_all`, for a text whose parameters are $1, $2 and so on: nobody needs to look for them."""
        return await self.run_again(lambda: self._attempt(psycopg.AsyncRawCursor, statement, parameters))

    async def execute(self, statement: str, parameters: Parameters | None = None) -> None:
        """Run one statement that is a transaction by itself."""
        await self._run_hot(statement, parameters)

    async def run_again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`, a whole transaction, again while others make it fail and time is left."""
        ends_at = self._ends_at()
        backoff = FIRST_BACKOFF_SECONDS
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await work()
            except (psycopg.Error, DBAPIError) as error:
                if not is_passing(error):
                    raise
                if attempt == MAX_ATTEMPTS or time.monotonic() + backoff >= ends_at:
                    raise DependencyUnavailable("The database is too contended.") from error
            # Half of the pause is drawn, so that those who collided do not collide again.
            await asyncio.sleep(backoff * (0.5 + random.random() / 2))  # noqa: S311 - spreads load, guards nothing
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def in_time(self, work: Awaitable[T]) -> T:
        """Wait for `work` as long as the current call has time."""
        remaining = self._remaining()
        if remaining is None:
            return await work
        try:
            async with asyncio.timeout(remaining):
                return await work
        except TimeoutError as error:
            raise DeadlineExceeded from error

    @asynccontextmanager
    async def _begin(self, tenant_id: str | None) -> AsyncIterator[AsyncConnection]:
        async with _Lent(partial(self._take_begun, self._begin_sql(tenant_id)), self._give_back) as raw:
            session = raw.session
            session.info.pop(APPENDED, None)
            async with session.begin():
                yield session
            self._count_boundary()
            appended = session.info.pop(APPENDED, False)
        if appended and self._wake is not None:
            self._wake()

    def _begin_sql(self, tenant_id: str | None) -> pgsql.Composed:
        # One message begins the transaction and sets what holds inside it: one round trip instead of three.
        parts: list[pgsql.Composable] = [pgsql.SQL("BEGIN")]
        remaining = self._remaining()
        if remaining is not None:
            milliseconds = max(1, min(round(remaining * 1000), round(STATEMENT_TIMEOUT_SECONDS * 1000)))
            parts.append(pgsql.SQL("SET LOCAL statement_timeout = {}").format(pgsql.Literal(milliseconds)))
        if tenant_id is not None:
            parts.append(pgsql.SQL("SELECT set_config('berth.tenant', {}, true)").format(pgsql.Literal(tenant_id)))
        return pgsql.SQL("; ").join(parts)

    async def _run_hot(self, statement: str, parameters: Parameters | None) -> list[Any]:
        # The text is the caller's own constant; values travel as parameters.
        return await self.in_time(self.run_again(lambda: self._attempt(psycopg.AsyncCursor, statement, parameters)))

    async def _attempt(
        self, kind: type[psycopg.AsyncCursor[Any]], statement: str, parameters: Parameters | None
    ) -> list[Any]:
        async with _Lent(self._take, self._give_back) as raw:
            for listener in self.listeners:
                listener.statement(statement)
            cursor = kind(raw, row_factory=namedtuple_row)
            await cursor.execute(statement.encode(), parameters, prepare=True)
            # Asked for by its place: a description is made of an object for each column.
            return await cursor.fetchall() if cursor.rownumber is not None else []

    async def _take(self) -> PooledConnection:
        return await self._pool.take(self._remaining())

    async def _take_begun(self, begin: pgsql.Composed) -> PooledConnection:
        while True:
            raw = await self._take()
            try:
                await raw.execute(begin)
            except psycopg.Error:
                cut = raw.closed
                await self._give_back(raw)
                # Nothing has been done yet: where the server hung up just now, another connection may do.
                if not cut:
                    raise
            except BaseException:
                await self._give_back(raw)
                raise
            else:
                self._count_boundary()
                return raw

    async def _give_back(self, raw: PooledConnection) -> None:
        if raw.session.in_transaction() or raw.session.invalidated:
            await raw.close()
        await self._pool.give_back(raw)

    async def _add_session(self, raw: PooledConnection) -> None:
        async with self._opening_lock:
            self._opening = raw
            raw.session = await self._engine.connect()
            # Detached: SQLAlchemy must not close, nor complain about, what the pool owns.
            raw.session.sync_connection.detach()  # type: ignore[union-attr]  # it is connected: the line above did

    async def _give_opening(self) -> PooledConnection:
        opening, self._opening = self._opening, None
        if opening is None:
            raise RuntimeError("SQLAlchemy's connections are views of pooled ones; nobody opens them directly.")
        return opening

    def _ends_at(self) -> float:
        remaining = self._remaining()
        return time.monotonic() + (STATEMENT_TIMEOUT_SECONDS if remaining is None else remaining)

    def _count_statement(self, _connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        for listener in self.listeners:
            listener.statement(statement)

    def _count_boundary(self) -> None:
        for listener in self.listeners:
            listener.boundary()


class _Lent:
    """A pooled connection for the length of a block, in a transaction or in none; its errors are told in our words."""

    # Not a generator: each statement of a hot path passes here, and pays for it.
    def __init__(
        self, take: Callable[[], Awaitable[PooledConnection]], give_back: Callable[[PooledConnection], Awaitable[None]]
    ) -> None:
        self._take = take
        self._give_back = give_back
        self._raw: PooledConnection | None = None

    async def __aenter__(self) -> PooledConnection:
        try:
            self._raw = await self._take()
        except (psycopg.Error, DBAPIError) as error:
            _refuse(error)
            raise
        return self._raw

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if self._raw is not None:
            await self._give_back(self._raw)
        if isinstance(error, psycopg.Error | DBAPIError):
            _refuse(error)


def _refuse(error: Exception) -> None:
    refusal = refusal_for(error)
    if refusal is not None:
        raise refusal from error
