"""What inventory does on its own: mark holds that time has ended, and tell auth again who owns what."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.chassis.errors import Refusal
from services.inventory.ports import Ports
from services.inventory.usecases.vendors import tell_owner

SWEEP_BATCH = 200  # holds
GRANT_BATCH = 20
GRANT_SECONDS = 2.0  # between looks for ownerships that auth was not told of

logger = logging.getLogger(__name__)

Tick = Callable[[], Awaitable[int]]


class Ticker:
    """Does a batch at a time: at once again while there is a full one, else after a pause."""

    def __init__(self, name: str, seconds: float, batch: int, tick: Tick) -> None:
        self._name = name
        self._seconds = seconds
        self._batch = batch
        self.tick = tick

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is refused, because something is out, is made up for later."""
        while not stop.is_set():
            done = 0
            try:
                done = await self.tick()
            except Refusal as refusal:
                logger.warning("tick refused", extra={"worker": self._name, "error": refusal.message})
            if done >= self._batch:
                continue
            try:
                await asyncio.wait_for(stop.wait(), self._seconds)
            except TimeoutError:
                continue


def sweeper(ports: Ports, seconds: float) -> Ticker:
    """Marks holds that time has ended; their units are free without it."""
    return Ticker("sweep holds", seconds, SWEEP_BATCH, lambda: ports.holds.sweep(SWEEP_BATCH))


def granter(ports: Ports) -> Ticker:
    """Tells auth who owns what, where that failed when the vendor was created."""

    async def tick() -> int:
        waiting = await ports.grants.pending(GRANT_BATCH)
        told = await asyncio.gather(*(tell_owner(ports, grant) for grant in waiting))
        if not all(told):
            logger.warning("auth not told yet", extra={"waiting": told.count(False)})
        return sum(told)

    return Ticker("grant vendors", GRANT_SECONDS, GRANT_BATCH, tick)
