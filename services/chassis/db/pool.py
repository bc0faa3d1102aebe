"""The pool of connections: warm ones first, none that was cut, and no waiting for a server that is known to be out."""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncConnection

WAIT_SECONDS = 5.0  # the longest wait for a connection
OUT_WAIT_SECONDS = 0.1  # the longest once the server has been out for so long
RECONNECT_SECONDS = 1.0  # the longest pause between attempts to reach a server that is out


class PooledConnection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A pooled connection together with SQLAlchemy's view of it, which lives exactly as long."""

    session: AsyncConnection


class _Stack(deque[PooledConnection]):
    """What is appended last leaves first."""

    def append(self, connection: PooledConnection) -> None:
        self.appendleft(connection)


class WarmPool(AsyncConnectionPool[PooledConnection]):
    """Lends the connection that came back last: its server process has plans and tables at hand.

    Taken in turn, as the library's own pool lends them, all of them plan each statement anew after each ANALYZE.
    The one in ten minutes that it closes for want of use, it takes from the same end.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        settings: Mapping[str, Any],
        prepare: Callable[[PooledConnection], Awaitable[None]],
    ) -> None:
        super().__init__(
            url,
            connection_class=PooledConnection,
            kwargs=dict(settings),
            min_size=1,
            max_size=size,
            open=False,
            configure=self._welcome,
            reconnect_timeout=RECONNECT_SECONDS,
            reconnect_failed=self._try_again,
        )
        self._pool = _Stack()
        self._prepare = prepare
        self._out_since: float | None = None

    async def take(self, remaining: float | None) -> PooledConnection:
        """A connection that the server has not cut, within the time that is left; PoolTimeout where there is none."""
        patience = self._patience()
        ends_at = time.monotonic() + (patience if remaining is None else max(0.001, min(remaining, patience)))
        while True:
            connection = await self.getconn(ends_at - time.monotonic())
            if not _was_cut(connection):
                return connection
            await connection.close()
            await self.putconn(connection)

    async def give_back(self, connection: PooledConnection) -> None:
        """What `take` lent; a closed one is replaced."""
        if not connection.closed:
            # A server that refuses new connections only, because it is full, is not out.
            self._out_since = None
        await self.putconn(connection)

    def _patience(self) -> float:
        # Those who wait for a server that stays out only fill their callers' queues.
        if self._out_since is None:
            return WAIT_SECONDS
        return max(OUT_WAIT_SECONDS, self._out_since + WAIT_SECONDS - time.monotonic())

    async def _welcome(self, connection: PooledConnection) -> None:
        self._out_since = None
        await self._prepare(connection)

    async def _try_again(self, _pool: AsyncConnectionPool[Any]) -> None:
        if self._out_since is None:
            self._out_since = time.monotonic()
        # The pool doubles its pauses and then gives up; asked to check itself it starts anew, so a server that comes
        # back after a long outage is found within the shortest pause.
        await self.check()


def _was_cut(connection: PooledConnection) -> bool:
    """Whether the server has said something on an idle connection: almost always its good-bye."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
