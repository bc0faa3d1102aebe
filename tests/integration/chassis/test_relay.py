"""The relay, on real PostgreSQL and Kafka: everything once acknowledged, in order, whatever is out meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message
from sqlalchemy import MetaData

from services.chassis.clock import FixedClock
from services.chassis.db import Database
from services.chassis.kafka import Headers, Settings, client_settings, event_headers, read_headers
from services.chassis.outbox import OutboxEvent, append, outbox_table
from services.chassis.outbox.relay import Relay
from services.chassis.retention import Retention
from tests.brokers import Broker
from tests.databases import Server, Urls
from tests.integration.chassis.conftest import AT, EVENT_TYPE, MakeEvent

ROOT = Path(__file__).resolve().parents[3]


def read_all(kafka: Broker, topic: str, number: int, seconds: float = 30.0) -> list[Message]:
    """The first `number` messages of a topic, and what comes within a moment after them."""
    consumer = KafkaConsumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": f"reader-{time.monotonic()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    messages: list[Message] = []
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        message = consumer.poll(1.0 if len(messages) >= number else 0.2)
        if message is None and len(messages) >= number:
            break
        if message is not None and message.error() is None:
            messages.append(message)
    consumer.close()
    return messages


async def read(kafka: Broker, topic: str, number: int) -> list[Message]:
    return await asyncio.to_thread(read_all, kafka, topic, number)


async def store(database: Database, *events: OutboxEvent) -> None:
    async with database.transaction("ten_a") as connection:
        await append(connection, *events)


async def unpublished(worker: Database) -> int:
    row = await worker.fetch_one("SELECT count(*) AS waiting FROM outbox WHERE publish_time IS NULL")
    assert row is not None
    return int(row.waiting)


async def until(condition: Callable[[], Any], seconds: float) -> float:
    """Wait until the condition holds; returns how long it took."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - started


async def test_an_event_arrives_with_its_attributes(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    relay = Relay(worker, kafka.bootstrap, "chassis")
    start(relay.run)
    event = make_event(topic, "hello", key="bkg_1", version=7)
    await store(database, event)
    (message,) = await read(kafka, topic, 1)
    assert message.key() == b"bkg_1"
    assert message.value() == event.payload
    assert read_headers(message) == {
        "ce_id": event.event_id,
        "ce_source": "//berth.dev/chassis",
        "ce_type": EVENT_TYPE,
        "ce_time": AT.isoformat(),
        "ce_specversion": "1.0",
        "content-type": "application/protobuf",
        "berthtenant": "ten_a",
        "berthversion": "7",
        "traceparent": event.traceparent,
    }


async def test_events_of_a_transaction_that_rolled_back_are_never_published(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    start(Relay(worker, kafka.bootstrap, "chassis").run)

    async def fail() -> None:
        async with database.transaction("ten_a") as connection:
            await append(connection, make_event(topic, "never"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await store(database, make_event(topic, "always"))
    assert [message.value() for message in await read(kafka, topic, 1)] == [make_event(topic, "always").payload]


async def test_a_wake_up_publishes_at_once(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    relay = Relay(worker, kafka.bootstrap, "chassis")
    database.on_event(relay.wake)
    start(relay.run)
    await store(database, make_event(topic, "warm-up"))
    await until(lambda: _nothing_waits(worker), 10)
    await asyncio.sleep(0.1)
    took = []
    for number in range(5):
        await store(database, make_event(topic, str(number)))
        took.append(await until(lambda: _nothing_waits(worker), 5))
        await asyncio.sleep(0.1)
    assert sorted(took)[2] < 0.5, f"the median of {took} says that it only polled"


async def test_keys_keep_their_order_while_transactions_overlap(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    relay = Relay(worker, kafka.bootstrap, "chassis")
    database.on_event(relay.wake)
    start(relay.run)

    async def tell(key: str) -> None:
        for version in range(1, 26):
            await store(database, make_event(topic, "x", key=key, version=version))

    await asyncio.gather(*(tell(f"key-{number}") for number in range(8)))
    messages = await read(kafka, topic, 200)
    assert len(messages) == 200
    versions: dict[bytes, list[int]] = {}
    for message in messages:
        key = message.key()
        assert isinstance(key, bytes)
        versions.setdefault(key, []).append(int(read_headers(message)["berthversion"]))
    assert all(later == earlier + 1 for found in versions.values() for earlier, later in pairwise(found))


async def test_a_slow_transaction_with_a_lower_number_is_not_lost(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    start(Relay(worker, kafka.bootstrap, "chassis").run)
    async with database.transaction("ten_a") as connection:
        await append(connection, make_event(topic, "slow"))
        await store(database, make_event(topic, "quick"))
        await until(lambda: _nothing_waits(worker), 10)
    await until(lambda: _nothing_waits(worker), 10)
    assert len(await read(kafka, topic, 2)) == 2


async def test_of_two_relays_one_leads_and_the_other_takes_over(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    first, second = Relay(worker, kafka.bootstrap, "chassis"), Relay(worker, kafka.bootstrap, "chassis")
    leading = start(first.run)
    await store(database, make_event(topic, "0"))
    await until(lambda: _nothing_waits(worker), 10)
    start(second.run)
    database.on_event(second.wake)  # events come up in the standby's process: it tells the leader
    await asyncio.sleep(0.2)
    for number in range(1, 21):
        await store(database, make_event(topic, str(number)))
    await until(lambda: _nothing_waits(worker), 5)
    await leading.end()
    await store(database, make_event(topic, "21"))
    await until(lambda: _nothing_waits(worker), 10)
    assert len(await read(kafka, topic, 22)) == 22


async def test_kafka_out_delays_but_loses_and_reorders_nothing(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader", 1)
    relay = Relay(worker, kafka.bootstrap, "chassis")
    database.on_event(relay.wake)
    start(relay.run)
    await store(database, make_event(topic, "x", version=0))
    await until(lambda: _nothing_waits(worker), 10)
    await asyncio.to_thread(kafka.stop, signal.SIGKILL)
    try:
        before = time.process_time()
        for version in range(1, 101):
            await store(database, make_event(topic, "x", version=version))
        await asyncio.sleep(5)
        assert time.process_time() - before < 2.5, "it waits in a busy loop"
        assert await unpublished(worker) == 100
    finally:
        await asyncio.to_thread(kafka.start)
    took = await until(lambda: _nothing_waits(worker), 30)
    print(f"Kafka back: outbox drained after {took:.1f} s")  # noqa: T201 - a measure worth seeing
    versions = [int(read_headers(message)["berthversion"]) for message in await read(kafka, topic, 101)]
    assert list(dict.fromkeys(versions)) == list(range(101))


async def test_postgres_restarted_the_relay_goes_on(
    postgres: Server,
    database: Database,
    worker: Database,
    kafka: Broker,
    new_topic: Any,
    make_event: MakeEvent,
    start: Any,
) -> None:
    topic = new_topic("reader")
    start(Relay(worker, kafka.bootstrap, "chassis").run)
    await store(database, make_event(topic, "before"))
    await until(lambda: _nothing_waits(worker), 10)
    postgres.stop()
    await asyncio.sleep(1)
    postgres.start()
    await until(database.ping, 5)
    await store(database, make_event(topic, "after"))
    await until(lambda: _nothing_waits(worker), 10)
    assert len(await read(kafka, topic, 2)) >= 2


async def test_killed_after_the_ack_the_event_is_published_again_and_marked(
    urls: Urls, database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    event = make_event(topic, "once in effect")
    await store(database, event)
    program = (
        "import asyncio, sys\n"
        "from services.chassis.db import Database\n"
        "from services.chassis.outbox.relay import Relay\n"
        "async def main():\n"
        "    database = Database(sys.argv[1])\n"
        "    await database.open()\n"
        "    await Relay(database, sys.argv[2], 'chassis').run(asyncio.Event())\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, urls.worker, kafka.bootstrap],
        env=os.environ | {"BERTH_CRASH_AT": "relay.after_ack", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        check=False,
        timeout=30,
    )
    assert killed.returncode == -signal.SIGKILL
    assert await unpublished(worker) == 1
    start(Relay(worker, kafka.bootstrap, "chassis").run)
    await until(lambda: _nothing_waits(worker), 10)
    messages = await read(kafka, topic, 2)
    assert [read_headers(message)["ce_id"] for message in messages] == [event.event_id] * 2


async def test_a_thousand_events_cost_little(
    database: Database, worker: Database, kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic("reader")
    await store(database, *(make_event(topic, "x" * 300, key=str(number)) for number in range(1000)))
    before = time.process_time()
    start(Relay(worker, kafka.bootstrap, "chassis").run)
    took = await until(lambda: _nothing_waits(worker), 20)
    cost = time.process_time() - before
    print(f"1,000 events relayed in {took:.2f} s, {cost:.2f} ms of CPU each")  # noqa: T201 - a measure worth seeing
    with psycopg.connect(worker._url) as connection:
        (number,) = connection.execute("SELECT count(*) FROM outbox WHERE publish_time IS NOT NULL").fetchone() or (0,)
    assert number == 1000


async def test_a_batch_leaves_in_one_request(
    database: Database,
    worker: Database,
    kafka: Broker,
    new_topic: Any,
    make_event: MakeEvent,
    start: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What does not go with the first request waits for its answer in a loop of librdkafka's that fills a core.
    told: list[int] = []

    def counting(bootstrap: str, name: str) -> Settings:
        counted = {"statistics.interval.ms": 10, "stats_cb": lambda text: told.append(_produce_requests(text))}
        return client_settings(bootstrap, name) | counted

    def dawdling(**event: Any) -> Headers:
        time.sleep(0.001)  # as on a busy machine
        return event_headers(**event)

    monkeypatch.setattr("services.chassis.outbox.relay.client_settings", counting)
    monkeypatch.setattr("services.chassis.outbox.relay.event_headers", dawdling)
    topic = new_topic("reader", 1)
    relay = Relay(worker, kafka.bootstrap, "chassis")
    start(relay.run)

    async def publish(number: int) -> None:
        await store(database, *(make_event(topic, str(each)) for each in range(number)))
        relay.wake()
        await until(lambda: _nothing_waits(worker), 20)
        await asyncio.sleep(0.1)

    await publish(1)  # which finds the topic
    await publish(50)
    seen = len(told)
    await publish(1)  # with which we are told how many requests went before it
    assert told[seen] == 2


async def test_published_events_are_forgotten_when_they_are_old_and_others_never(
    database: Database, worker: Database, make_event: MakeEvent
) -> None:
    await store(database, *(make_event("t", str(number)) for number in range(3)))
    now = datetime.now(UTC)
    await worker.execute("UPDATE outbox SET publish_time = %s WHERE sequence = 1", (now - timedelta(days=8),))
    await worker.execute("UPDATE outbox SET publish_time = %s WHERE sequence = 2", (now - timedelta(days=6),))
    metadata = MetaData()
    outbox_table(metadata)
    assert await Retention(worker, FixedClock(now + timedelta(seconds=1)), metadata).run_once() == {"outbox": 1}
    rows = await worker.fetch_all("SELECT sequence FROM outbox ORDER BY sequence")
    assert [row.sequence for row in rows] == [2, 3]


def _produce_requests(statistics: str) -> int:
    return sum(broker["req"].get("Produce", 0) for broker in json.loads(statistics)["brokers"].values())


async def _nothing_waits(worker: Database) -> bool:
    return await unpublished(worker) == 0
