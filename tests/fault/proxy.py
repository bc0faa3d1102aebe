"""Owns a small TCP proxy that makes the way between two services bad: late, stalled, cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

CHUNK_BYTES = 64 * 1024


class Weather(StrEnum):
    """How the way behaves."""

    CLEAR = "clear"
    SLOW = "slow"
    """Every chunk arrives later, in order."""
    STALLED = "stalled"
    """Connections stay open, and nothing arrives."""
    CUT = "cut"
    """Open connections are reset, and so is every new one."""


class Proxy:
    """Passes bytes between whoever connects and one target, as the weather has it."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._weather = Weather.CLEAR
        self._delay = 0.0
        self._cleared = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def change(self, weather: Weather, delay: float = 0.0) -> None:
        """From now on the way is like this."""
        self._weather, self._delay = weather, delay
        if weather is Weather.STALLED:
            self._cleared.clear()
        else:
            self._cleared.set()
        if weather is Weather.CUT:
            for writer in self._writers:
                writer.transport.abort()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        if self._weather is Weather.CUT:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        ways = [asyncio.create_task(self._pass(reader, back)), asyncio.create_task(self._pass(there, writer))]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        self._tasks.difference_update(ways)
        for end in (writer, back):
            self._writers.discard(end)
            end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Taken at once and handed on when its time has come: what follows is late as well, but no later, and in order.
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        handing = asyncio.create_task(self._hand_on(waiting, writer))
        loop = asyncio.get_running_loop()
        try:
            with suppress(ConnectionError):
                while chunk := await reader.read(CHUNK_BYTES):
                    waiting.put_nowait((loop.time() + (self._delay if self._weather is Weather.SLOW else 0.0), chunk))
                await waiting.join()
        finally:
            handing.cancel()

    async def _hand_on(self, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self._weather is Weather.STALLED:
                await self._cleared.wait()
            if not writer.is_closing():
                writer.write(chunk)
            waiting.task_done()

    def close(self) -> None:
        """Ends every connection."""
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def between(target: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before a target, and the address to use in the target's place."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield proxy, f"{host}:{port}"
    finally:
        server.close()
        proxy.close()
        await asyncio.sleep(0)
