"""From an event on Kafka to a caught mail, through outages and kills: once for each event and person."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from berth.auth.events.v1.events_pb2 import OtpIssued
from berth.booking.events.v1.events_pb2 import BookingCancelled, BookingConfirmed, BookingSnapshot
from berth.type.v1.money_pb2 import Money
from confluent_kafka import Producer
from google.protobuf.message import Message

from infra.doubles.mail.server import Catcher, serving
from services.chassis.ids import new_id
from services.chassis.kafka import event_headers
from services.notification.consumers import TOPICS
from services.notification.domain import LEASE
from tests.brokers import Broker
from tests.databases import NewDatabase, Urls, free_port
from tests.integration.notification.sending import parts
from tests.ports.notification.fakes import BOOKING, CHALLENGE, TENANT, USER

ROOT = Path(__file__).resolve().parents[3]
_topics_made = False


@pytest.fixture
def urls(new_database: NewDatabase) -> Urls:
    return new_database("notification")


@pytest.fixture
def broker(kafka: Broker) -> Broker:
    """The broker with the mesh's topics. Events of earlier tests are there too: each test's database sees them anew."""
    global _topics_made  # noqa: PLW0603 - the broker lives as long as this module
    if not _topics_made:
        kafka.make_topics({name: 3 for topic in TOPICS for name in (topic, f"{topic}.notification.dlq")})
        _topics_made = True
    return kafka


@pytest.fixture
async def post() -> AsyncIterator[tuple[int, Catcher]]:
    port = free_port()
    async with serving(port, free_port()) as catcher:
        yield port, catcher


def publish(broker: Broker, event: Message, *, key: str, event_id: str = "", version: int = 1) -> str:
    package = event.DESCRIPTOR.file.package.split(".")
    event_id = event_id or new_id("evt", at=datetime.now(UTC))
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    producer.produce(
        f"berth.{package[1]}.v1",
        key=key,
        value=event.SerializeToString(),
        headers=event_headers(
            event_id=event_id,
            source=package[1],
            event_type=event.DESCRIPTOR.full_name,
            tenant_id=TENANT,
            version=version,
            time=datetime.now(UTC),
            traceparent="",
        ),
    )
    assert producer.flush(10) == 0
    return event_id


def confirmed() -> BookingConfirmed:
    return BookingConfirmed(booking=BookingSnapshot(booking_id=BOOKING, user_id=USER))


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        await asyncio.sleep(0.05)
    return time.monotonic() - started


def mails_of(catcher: Catcher, event_id: str) -> list[str]:
    ids = [caught.headers["Message-ID"] for caught in catcher.mailbox.list(None)]
    return [found for found in ids if event_id in found]


async def test_the_journeys_mails_arrive_once_each(urls: Urls, broker: Broker, post: tuple[int, Catcher]) -> None:
    port, catcher = post
    otp = OtpIssued(user_id=USER, challenge_id=CHALLENGE, purpose=OtpIssued.Purpose.VERIFY_EMAIL)
    otp.expire_time.FromDatetime(datetime.now(UTC) + timedelta(minutes=10))
    refund = Money(currency_code="EUR", amount="150.00")
    cancelled = BookingCancelled(booking=confirmed().booking, refund_amount=refund)
    stop = asyncio.Event()
    async with parts(urls.app, urls.worker, broker.bootstrap, port) as running:
        tasks = [asyncio.create_task(part.run(stop)) for part in (running.worker, running.consumer)]
        key = new_id("bkg", at=datetime.now(UTC))
        events = [
            publish(broker, otp, key=USER, version=time.time_ns()),
            publish(broker, confirmed(), key=key, version=3),
            publish(broker, cancelled, key=key, version=4),
        ]
        publish(broker, confirmed(), key=key, version=3, event_id=events[1])
        for event_id in events:
            await until(lambda event_id=event_id: bool(mails_of(catcher, event_id)))  # type: ignore[misc]  # bound at once
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*tasks)
    assert [len(mails_of(catcher, event_id)) for event_id in events] == [1, 1, 1]
    texts = {caught.headers["Message-ID"]: caught.text for caught in catcher.mailbox.list("ada@example.org")}
    assert "123456" in next(text for found, text in texts.items() if events[0] in found)
    assert "You get 150.00 EUR back" in next(text for found, text in texts.items() if events[2] in found)


async def test_mail_out_for_a_while_everything_goes_once_it_is_back(
    urls: Urls, broker: Broker, post: tuple[int, Catcher]
) -> None:
    port, catcher = post
    catcher.order_outage(3600)
    stop = asyncio.Event()
    async with parts(urls.app, urls.worker, broker.bootstrap, port) as running:
        tasks = [asyncio.create_task(part.run(stop)) for part in (running.worker, running.consumer)]
        events = [publish(broker, confirmed(), key=new_id("bkg", at=datetime.now(UTC))) for _ in range(5)]
        await until(lambda: _attempts(urls, events) >= 10)
        assert not any(mails_of(catcher, event_id) for event_id in events)
        catcher.order_outage(0)
        took = await until(lambda: all(mails_of(catcher, event_id) for event_id in events), 40)
        await asyncio.sleep(1)
        stop.set()
        await asyncio.gather(*tasks)
    print(f"mail back: the last one went after {took:.1f} s")  # noqa: T201 - a measure worth seeing
    assert [len(mails_of(catcher, event_id)) for event_id in events] == [1] * 5


async def test_killed_after_the_server_took_it_the_mail_goes_again_under_the_same_id(
    urls: Urls, broker: Broker, post: tuple[int, Catcher]
) -> None:
    port, catcher = post
    event_id = publish(broker, confirmed(), key=new_id("bkg", at=datetime.now(UTC)))
    command = [sys.executable, "-m", "tests.integration.notification.sending"]
    killed = await asyncio.to_thread(
        subprocess.run,
        [*command, urls.app, urls.worker, broker.bootstrap, str(port)],
        env=os.environ
        | {"BERTH_CRASH_AT": "notification.after_accept", "PYTHONPATH": f"{ROOT}:{ROOT}/generated/python"},
        cwd=ROOT,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(catcher.mailbox.list(None)) >= 1
    stop = asyncio.Event()
    async with parts(urls.app, urls.worker, broker.bootstrap, port) as running:
        tasks = [asyncio.create_task(part.run(stop)) for part in (running.worker, running.consumer)]
        await asyncio.sleep(3)
        assert not _settled(urls), "it was taken while its lease ran"
        _elapse(urls, LEASE)
        await until(lambda: _settled(urls))
        stop.set()
        await asyncio.gather(*tasks)
    found = mails_of(catcher, event_id)
    assert 1 <= len(found) <= 2
    assert len(set(found)) == 1


async def test_what_a_mail_costs(urls: Urls, post: tuple[int, Catcher]) -> None:
    from services.notification.usecases import queue_message
    from tests.ports.notification.fakes import occasion

    port, catcher = post
    async with parts(urls.app, urls.worker, "127.0.0.1:1", port) as running:
        queueing = time.process_time()
        for number in range(200):
            await queue_message(running.ports, occasion(event_id=f"evt_{number}", key=f"key-{number}"))
        queueing = time.process_time() - queueing
        delivering = time.process_time()
        while await running.worker.run_once():
            pass
        delivering = time.process_time() - delivering
    assert len(catcher.mailbox.list(None)) == 200
    print(  # noqa: T201 - a measure worth seeing
        f"CPU: {queueing * 5:.2f} ms to queue a message, {delivering * 5:.2f} ms to deliver it (the catcher's included)"
    )


def _attempts(urls: Urls, events: list[str]) -> int:
    with psycopg.connect(urls.worker) as connection:
        row = connection.execute("SELECT sum(attempts) FROM deliveries WHERE event_id = ANY(%s)", (events,)).fetchone()
    return int(row[0] or 0) if row else 0


def _elapse(urls: Urls, time: timedelta) -> None:
    """Lets a time pass for all deliveries."""
    with psycopg.connect(urls.superuser) as connection:
        connection.execute("UPDATE deliveries SET next_try_time = next_try_time - %s", (time,))


def _settled(urls: Urls) -> Any:
    with psycopg.connect(urls.worker) as connection:
        row = connection.execute("SELECT count(*) > 0 AND bool_and(status = 'SENT') FROM deliveries").fetchone()
    return row is not None and row[0]
