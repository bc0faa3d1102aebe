"""Delivers queued messages, a few at a time and not faster than it is told to."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from services.chassis.errors import Refusal
from services.chassis.rpc.context import background
from services.notification.domain import Delivery, Status
from services.notification.ports import Ports
from services.notification.usecases import deliver, take_due

BATCH: Final = 8  # messages in hand at once
IDLE_SECONDS: Final = 1.0  # how often the queue is looked at when nobody says that something waits
TRY_SECONDS: Final = 20.0  # the longest that one try may take; much shorter than the lease

_log = logging.getLogger(__name__)


class DeliveryWorker:
    """Takes due messages and tries them. Several may run beside each other."""

    def __init__(self, ports: Ports, *, per_second: int) -> None:
        self._ports = ports
        self._pace = 1 / per_second
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Say that a message waits."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until told to stop; what is in hand is finished first."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                started = time.monotonic()
                self._woken.clear()
                count = await self.run_once()
                pause = IDLE_SECONDS if count < BATCH else 0.0
                if count:
                    # The pace leaves the machine to those who are being waited for.
                    await asyncio.sleep(max(0.0, started + count * self._pace - time.monotonic()))
                if pause:
                    await self._sleep(pause)
        finally:
            stopping.cancel()

    async def run_once(self) -> int:
        """Try what is due now, up to one batch; returns how many messages that were."""
        try:
            taken = await take_due(self._ports, BATCH)
        except Refusal as refusal:
            _log.warning("no messages can be taken", extra={"error": refusal.message})
            return 0
        await asyncio.gather(*(self._try(delivery) for delivery in taken))
        return len(taken)

    async def _try(self, delivery: Delivery) -> None:
        with background("notification/deliver", tenant_id=delivery.tenant_id, seconds=TRY_SECONDS):
            try:
                async with asyncio.timeout(TRY_SECONDS):
                    status = await deliver(self._ports, delivery)
            except (Refusal, TimeoutError) as error:
                # Its lease ends by itself, and then it is tried again.
                _log.warning(
                    "a message waits for its lease to end",
                    extra={"delivery_id": delivery.delivery_id, "error": type(error).__name__},
                )
                return
        if status is not Status.QUEUED:
            _log.info(
                "message settled",
                extra={"delivery_id": delivery.delivery_id, "kind": delivery.subject.kind, "status": status},
            )

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()
