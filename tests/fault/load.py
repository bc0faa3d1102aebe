"""Owns the load beside a fault: clients that book without pause, and what they know of it afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from scripts.history.check import Finding, check
from scripts.history.record import History, Kind, Outcome
from tests.fault.client import CALL_SECONDS, Reply, new_key, stay
from tests.fault.world import World, night

TAKEN = "SLOT_TAKEN"
NIGHTS = 4
CAPACITY = 1_000  # units that the load cannot exhaust
PAUSE_SECONDS = 0.05
UNANSWERED_SECONDS = 90.0


@dataclass
class Load:
    """What the clients did and heard."""

    world: World
    room: str
    capacity: int
    history: History = field(default_factory=History)
    calls: list[tuple[float, Reply]] = field(default_factory=list)
    """Every single call, with the moment of its answer."""
    finals: list[Reply] = field(default_factory=list)
    """What each booking was answered in the end."""
    _stopping: bool = False

    async def client(self, number: int) -> None:
        """Books one night after another; whatever passes is asked again with the same key."""
        while not self._stopping:
            name, cell = new_key(), number % NIGHTS
            body = stay(self.room, night(cell), night(cell + 1))
            with self.history.call(number, Kind.TAKE, name, [f"night {cell}"]) as answer:
                final = await self._settle(body, name)
                if final.ok:
                    answer.outcome = Outcome.OK
                elif final.reason == TAKEN:
                    answer.outcome = Outcome.REFUSED
                elif not final.passing:
                    answer.outcome = Outcome.FAILED
            self.finals.append(final)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _settle(self, body: dict[str, object], key: str) -> Reply:
        began = time.monotonic()
        while True:
            reply = await self.world.customer.book(body, key)
            self.calls.append((time.monotonic(), reply))
            if not reply.passing or time.monotonic() - began > UNANSWERED_SECONDS:
                return reply
            await asyncio.sleep(2 * PAUSE_SECONDS)

    def stop(self) -> None:
        """Has each client end with the booking in its hand."""
        self._stopping = True

    @property
    def refused(self) -> list[Reply]:
        """Bookings that ended in an error which no waiting mends, although there were units."""
        return [final for final in self.finals if not final.ok]

    @property
    def hanging(self) -> int:
        """Calls that were never answered, and not because their connection broke."""
        return sum(reply.status == 0 and reply.seconds >= CALL_SECONDS for _, reply in self.calls)

    @property
    def slowest(self) -> float:
        """The longest that any call took."""
        return max(reply.seconds for _, reply in self.calls)

    def first_ok_after(self, moment: float) -> float:
        """Seconds from a moment to the first booking that was acknowledged after it."""
        answered = [at - moment for at, reply in self.calls if reply.ok and at - reply.seconds >= moment]
        return min(answered, default=float("inf"))

    def lost(self) -> int:
        """I9: acknowledged bookings that the database does not have."""
        told = [final.body["bookingId"] for final in self.finals if final.ok]
        return len(set(told) - set(self.world.statuses(told)))

    def judged(self) -> Finding:
        """Whether some order of single steps explains every answer."""
        return check(self.history.operations(), {f"night {number}": self.capacity for number in range(NIGHTS)})


@asynccontextmanager
async def load(world: World, clients: int = 4, capacity: int = CAPACITY) -> AsyncIterator[Load]:
    """Clients that book while the block runs; at its end each has been answered for good."""
    running = Load(world, await world.resource(capacity), capacity)
    tasks = [asyncio.create_task(running.client(number)) for number in range(clients)]
    await asyncio.sleep(1.0)
    try:
        yield running
        await asyncio.sleep(1.0)
    finally:
        running.stop()
        await asyncio.gather(*tasks)
