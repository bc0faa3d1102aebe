"""What auth does on its own, tick by tick: rotate keys, forget what ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from services.auth.ports import Ports
from services.auth.usecases.keys import rotate_keys
from services.auth.usecases.retention import purge
from services.chassis.errors import Refusal

KEY_INTERVAL_SECONDS: Final = 60.0
PURGE_INTERVAL_SECONDS: Final = 300.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ticking:
    """A use case that runs now and then; it says how much it did."""

    name: str
    interval_seconds: float
    tick: Callable[[], Awaitable[int]]

    async def run(self, stop: asyncio.Event) -> None:
        """Tick until told to stop; a tick that is refused, because the database is out, is made up for by the next."""
        while not stop.is_set():
            try:
                done = await self.tick()
            except Refusal as refusal:
                logger.warning("tick refused", extra={"worker": self.name, "error": refusal.message})
            else:
                if done:
                    logger.info("tick done", extra={"worker": self.name, "count": done})
            try:
                await asyncio.wait_for(stop.wait(), self.interval_seconds)
            except TimeoutError:
                continue


def workers(ports: Ports) -> list[Ticking]:
    """All of auth's workers."""

    async def forget() -> int:
        gone = 0
        while batch := await purge(ports):
            gone += batch
        return gone

    return [
        Ticking("rotate keys", KEY_INTERVAL_SECONDS, lambda: rotate_keys(ports)),
        Ticking("forget what ended", PURGE_INTERVAL_SECONDS, forget),
    ]
