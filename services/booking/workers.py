"""What booking does on its own: go on with bookings that are due, whoever left them."""

from __future__ import annotations

import asyncio
import logging

from services.booking.domain import Booking
from services.booking.ports import Ports
from services.booking.usecases import resume
from services.chassis.errors import Refusal
from services.chassis.rpc.context import background

PARALLEL = 16  # bookings at a time: each mostly waits for inventory and payment
INTERVAL_SECONDS = 0.5  # how often to look when nobody wakes us
RUN_SECONDS = 15.0  # the longest one run may take: as long as the lease, so that no two runs meet

logger = logging.getLogger(__name__)


class SagaWorker:
    """Takes what is due, as much as it can do at a time, and begins anew when one is done."""

    def __init__(self, ports: Ports, woken: asyncio.Event) -> None:
        """`woken` is set by whoever has made something due."""
        self._ports = ports
        self._woken = woken
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; then end what was begun."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._woken.clear()
                free = PARALLEL - len(self._running)
                taken = await self._take(free) if free else 0
                if taken < free or not free:
                    await self._rest()
        finally:
            stopping.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _take(self, limit: int) -> int:
        now = self._ports.clock.now()
        try:
            due = await self._ports.bookings.take_due(now, now + self._ports.times.lease, limit)
        except Refusal as refusal:
            logger.warning("bookings that are due cannot be read", extra={"error": refusal.message})
            return 0
        for booking in due:
            task = asyncio.create_task(self._resume(booking))
            self._running.add(task)
            task.add_done_callback(self._done)
        return len(due)

    async def _resume(self, booking: Booking) -> None:
        """One booking's run; whatever it meets, others go on, and this one is tried again."""
        acting = background(
            "booking/resume", tenant_id=booking.tenant_id, on_behalf_of=booking.user_id, seconds=RUN_SECONDS
        )
        told = {"booking_id": booking.booking_id, "step": booking.step, "attempts": booking.attempts}
        with acting:
            try:
                await resume(self._ports, booking)
            except Refusal as refusal:
                logger.warning("a booking cannot go on yet", extra=told | {"error": refusal.message})
            except Exception:
                logger.exception("a booking cannot go on", extra=told)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), INTERVAL_SECONDS)
        except TimeoutError:
            return

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()
