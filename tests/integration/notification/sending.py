"""Notification's consumer and worker over real PostgreSQL, Kafka and SMTP; auth and booking are the fakes of the ports.

As a program it is a notification process that a test can kill: `sending.py APP WORKER KAFKA SMTP_PORT`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from services.chassis.clock import SystemClock
from services.chassis.db import Database
from services.chassis.inbox.consumer import Consumer
from services.notification.clients.smtp import SmtpMailer
from services.notification.consumers import NAME, TOPICS, handlers
from services.notification.domain import Code
from services.notification.ports import Ports
from services.notification.store import DeliveryRows, InboxRows
from services.notification.workers import DeliveryWorker
from tests.ports.notification.fakes import CHALLENGE, World, world


@dataclass
class Parts:
    """The running parts of one notification process."""

    ports: Ports
    fakes: World
    worker: DeliveryWorker
    consumer: Consumer


@asynccontextmanager
async def parts(app: str, worker_url: str, kafka: str, smtp_port: int) -> AsyncIterator[Parts]:
    """Everything that a notification process has, but for its server."""
    database, worker_database = Database(app), Database(worker_url)
    await database.open()
    await worker_database.open()
    fakes = world()
    fakes.people.codes[CHALLENGE] = Code("123456", datetime.now(UTC) + timedelta(minutes=10))
    mailer = SmtpMailer("127.0.0.1", smtp_port, "bookings@berth.example")
    ports = replace(
        fakes.ports,
        clock=SystemClock(),
        deliveries=DeliveryRows(database, worker_database),
        inbox=InboxRows(database),
        mailer=mailer,
    )
    worker = DeliveryWorker(ports, per_second=1_000)
    consumer = Consumer(NAME, TOPICS, handlers(ports, worker.wake), bootstrap=kafka)
    try:
        yield Parts(ports, fakes, worker, consumer)
    finally:
        await mailer.close()
        await database.close()
        await worker_database.close()


async def main(app: str, worker: str, kafka: str, smtp_port: str) -> None:
    """Run until killed."""
    async with parts(app, worker, kafka, int(smtp_port)) as running:
        never = asyncio.Event()
        await asyncio.gather(running.worker.run(never), running.consumer.run(never))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
