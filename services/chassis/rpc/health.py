"""Health: a server serves while its own database answers; it says so before it stops; others' health is not its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckResponse

INTERVAL_SECONDS = 1.0
CHECK_SECONDS = 2.0  # a check that takes longer has failed
FAILURES = 2  # in a row, before balancers are sent elsewhere: one lost connection is no outage

Check = Callable[[], Awaitable[bool]]

logger = logging.getLogger(__name__)


class Health:
    """The health that this server tells of itself, as a whole and for each of its services."""

    def __init__(self, check: Check, *, interval: float = INTERVAL_SECONDS) -> None:
        self._check = check
        self._interval = interval
        self._servicer = aio.HealthServicer()
        self._names: tuple[str, ...] = ("",)
        self._serving: bool | None = None

    def register(self, names: tuple[str, ...], server: Any) -> None:
        """Answer for the services with these names."""
        self._names = ("", *names)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def begin(self) -> None:
        """Check once: what is asked before the first answer is told the truth."""
        await self._tell(serving=await self._passes())

    async def watch(self, stop: asyncio.Event) -> None:
        """Check again and again until told to stop."""
        failures = 0
        while not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), self._interval)
            except TimeoutError:
                failures = 0 if await self._passes() else failures + 1
                if failures in {0, FAILURES}:
                    await self._tell(serving=failures == 0)

    async def leave(self) -> None:
        """Tell everybody that this server stops; nothing changes it back."""
        await self._servicer.enter_graceful_shutdown()

    async def _passes(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self._check()
        except TimeoutError:
            return False

    async def _tell(self, *, serving: bool) -> None:
        if serving == self._serving:
            return
        self._serving = serving
        logger.log(logging.INFO if serving else logging.ERROR, "serving" if serving else "not serving: no database")
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)
