"""Waves: while three groups of calls are under way, the calls that come wait at the door and enter together.

Calls that enter together ask the same things in the same turns, so their statements and their calls to neighbours go
together all the way (`db/gather.py`, `rpc/together.py`) instead of meeting company by chance. Nobody waits for company:
where fewer are under way, a call enters at once and alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

UNDER_WAY: Final = 3  # with two, both may stand in the same queue while a core is idle
MOST: Final = 64  # calls in one wave
PATIENCE_SECONDS: Final = 1.0  # who takes longer, as behind a slow provider, is waited for no more


class Waves:
    """The door to what is done for many callers in the same steps."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[_Wave]] = deque()
        self._under_way = 0

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """What a caller does in its wave; the block begins when the wave does."""
        # Where a place is free nobody waits: whoever ends a wave lets in all that can.
        wave = self._begin(1) if self._under_way < UNDER_WAY else await self._queue()
        try:
            yield
        finally:
            wave.leave()

    async def _queue(self) -> _Wave:
        place: asyncio.Future[_Wave] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                place.result().leave()  # let in and given up in the same turn
            raise

    def _begin(self, members: int) -> _Wave:
        self._under_way += 1
        return _Wave(members, self._end)

    def _end(self) -> None:
        self._under_way -= 1
        while self._under_way < UNDER_WAY and (entering := self._next()):
            wave = self._begin(len(entering))
            for place in entering:
                place.set_result(wave)

    def _next(self) -> list[asyncio.Future[_Wave]]:
        entering: list[asyncio.Future[_Wave]] = []
        while self._waiting and len(entering) < MOST:
            place = self._waiting.popleft()
            # Whose caller has given up does not enter: its place was cancelled with the caller.
            if not place.done():
                entering.append(place)
        return entering


class _Wave:
    """Calls that entered together: over when all have left, or when it has taken too long."""

    __slots__ = ("_end", "_members", "_overtaken")

    def __init__(self, members: int, end: Callable[[], None]) -> None:
        self._members = members
        self._end: Callable[[], None] | None = end
        self._overtaken = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._over)

    def leave(self) -> None:
        """One of its calls is done."""
        self._members -= 1
        if not self._members:
            self._over()

    def _over(self) -> None:
        if self._end is not None:
            end, self._end = self._end, None
            self._overtaken.cancel()
            end()
