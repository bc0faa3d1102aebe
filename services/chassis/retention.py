"""Forgets, in small steps, what the chassis's tables have kept long enough."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.clock import Clock
from services.chassis.db.engine import Database
from services.chassis.errors import Refusal
from services.chassis.idempotency import store as idempotency
from services.chassis.inbox import table as inbox
from services.chassis.outbox import table as outbox

INTERVAL_SECONDS = 600.0
OUTBOX_KEEP = timedelta(days=7)  # published events: as long as Kafka keeps them
INBOX_KEEP = timedelta(days=30)  # well beyond what a topic or a dead-letter topic can bring back
PAUSE_SECONDS = 0.1  # between two batches, so that deleting disturbs nobody

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One table's rule: `purge` forgets one batch of what is older than `keep`, and says how many rows that were."""

    table: str
    keep: timedelta
    purge: Callable[[AsyncConnection, datetime], Awaitable[int]]


CHASSIS_JOBS = (
    Job("outbox", OUTBOX_KEEP, outbox.purge),
    Job("inbox", INBOX_KEEP, inbox.purge),
    Job("idempotency", idempotency.RETENTION, idempotency.purge),
)


class Retention:
    """Runs the jobs of those tables that a service has."""

    def __init__(
        self, database: Database, clock: Clock, metadata: MetaData, jobs: Sequence[Job] = CHASSIS_JOBS
    ) -> None:
        """`database` is the worker's: it forgets for all tenants."""
        self._database = database
        self._clock = clock
        self._jobs = [job for job in jobs if job.table in metadata.tables]

    async def run(self, stop: asyncio.Event) -> None:
        """Forget what is due, every interval, until `stop`."""
        while not stop.is_set():
            try:
                await self.run_once()
            except Refusal as refusal:
                _log.warning("Old rows stay for now: %s", refusal.message)
            try:
                await asyncio.wait_for(stop.wait(), INTERVAL_SECONDS)
            except TimeoutError:
                continue

    async def run_once(self) -> dict[str, int]:
        """Forget what is due now; returns how many rows of each table went."""
        gone: dict[str, int] = {}
        for job in self._jobs:
            before = self._clock.now() - job.keep
            gone[job.table] = 0
            while True:
                async with self._database.system() as connection:
                    count = await job.purge(connection, before)
                if not count:
                    break
                gone[job.table] += count
                await asyncio.sleep(PAUSE_SECONDS)
        return gone
