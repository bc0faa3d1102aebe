"""What payment does on its own: apply the provider's events, and ask about payments that stand still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from services.chassis.errors import Refusal
from services.payment.ports import Duties, Ports
from services.payment.usecases.hearing import apply_event, reconcile

BATCH: Final = 16  # looked at side by side: each costs the provider a call or two
EVENT_INTERVAL_SECONDS: Final = 1.0  # how often to look when nobody wakes us
CHECK_INTERVAL_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)


class Repeating:
    """Work that is done batch after batch while there is some, and looked for now and then, or when woken."""

    def __init__(self, name: str, interval_seconds: float, tick: Callable[[], Awaitable[int]]) -> None:
        self._name = name
        self._interval_seconds = interval_seconds
        self._tick = tick
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that there is work."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is refused, because the database is out, is made up for by the next tick."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._woken.clear()
                try:
                    done = await self._tick()
                except Refusal as refusal:
                    logger.warning("tick refused", extra={"worker": self._name, "error": refusal.message})
                    done = 0
                if done < BATCH:
                    await self._rest()
        finally:
            stopping.cancel()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), self._interval_seconds)
        except TimeoutError:
            return

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()


def event_worker(ports: Ports) -> Repeating:
    """Applies kept events whose turn has come."""

    async def tick() -> int:
        waiting = await ports.events.lease(ports.clock.now(), BATCH)
        await asyncio.gather(*(apply_event(ports, event) for event in waiting))
        return len(waiting)

    return Repeating("apply provider events", EVENT_INTERVAL_SECONDS, tick)


def reconciler(ports: Ports, duties: Duties) -> Repeating:
    """Asks the provider about payments that nobody has told us about for too long."""

    async def tick() -> int:
        due = await duties.lease(ports.clock.now(), BATCH)
        await asyncio.gather(*(reconcile(ports, payment) for payment in due))
        return len(due)

    return Repeating("reconcile payments", CHECK_INTERVAL_SECONDS, tick)
