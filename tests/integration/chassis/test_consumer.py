"""The consumer, on real PostgreSQL and Kafka: once in effect, in order, and never stopped by one event."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Producer, TopicPartition
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import text

from services.chassis.clock import FixedClock
from services.chassis.db import Database
from services.chassis.errors import DependencyUnavailable
from services.chassis.inbox import AlreadyApplied, Received, claim, inbox_tables, is_stale
from services.chassis.inbox import table as inbox
from services.chassis.inbox.consumer import COMMIT_SECONDS, MAX_ATTEMPTS, Consumer
from services.chassis.inbox.redrive import redrive
from services.chassis.kafka import event_headers, read_headers
from services.chassis.outbox import OutboxEvent
from services.chassis.retention import Retention
from services.chassis.rpc.context import current
from tests.brokers import Broker
from tests.databases import Urls
from tests.integration.chassis.conftest import AT, EVENT_TYPE, MakeEvent
from tests.integration.chassis.test_relay import read_all

ROOT = Path(__file__).resolve().parents[3]
NAME = "reader"


def send(kafka: Broker, *events: OutboxEvent, headers: dict[str, str] | None = None) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all"})
    for event in events:
        attributes = event_headers(
            event_id=event.event_id,
            source="chassis",
            event_type=event.type,
            tenant_id=event.tenant_id,
            version=event.version,
            time=event.time,
            traceparent=event.traceparent,
        )
        attributes = [(name, (headers or {}).get(name, value)) for name, value in attributes]
        producer.produce(event.topic, key=event.key, value=event.payload, headers=attributes)
    assert producer.flush(10) == 0


def committed(kafka: Broker, topic: str, partitions: int = 3) -> int:
    reader = KafkaConsumer({"bootstrap.servers": kafka.bootstrap, "group.id": NAME, "enable.auto.commit": False})
    places = reader.committed([TopicPartition(topic, number) for number in range(partitions)], timeout=10)
    reader.close()
    return sum(max(place.offset, 0) for place in places)


async def until(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 20.0) -> float:
    """Wait until the condition holds; returns how long it took."""
    started = time.monotonic()
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return time.monotonic() - started
        assert time.monotonic() - started < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)


class Things:
    """A use case's stand-in: writes one row per event in the transaction that claims it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.seen: list[Received] = []

    async def __call__(self, event: Received) -> None:
        self.seen.append(event)
        async with self._database.transaction(event.tenant_id) as connection:
            await claim(connection, NAME, event.event_id, event.type, AT)
            await connection.execute(
                text("INSERT INTO thing VALUES (:thing_id, :tenant_id, 1)"),
                {"thing_id": f"{event.event_id} {len(self.seen)}", "tenant_id": event.tenant_id},
            )

    async def count(self) -> int:
        async with self._database.transaction("ten_a") as connection:
            return int((await connection.execute(text("SELECT count(*) FROM thing"))).scalar_one())


@pytest.fixture
def things(database: Database) -> Things:
    return Things(database)


async def test_an_event_reaches_its_handler_whole(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME)
    calls = []

    async def handle(event: Received) -> None:
        calls.append(current())
        await things(event)

    start(Consumer(NAME, [topic], {EVENT_TYPE: handle}, bootstrap=kafka.bootstrap).run)
    event = make_event(topic, "hello", key="bkg_1", version=3)
    send(kafka, event)
    await until(lambda: bool(things.seen))
    (got,) = things.seen
    assert (got.event_id, got.type, got.tenant_id) == (event.event_id, EVENT_TYPE, "ten_a")
    assert (got.topic, got.key, got.version, got.time) == (topic, "bkg_1", 3, AT)
    assert got.message == StringValue(value="hello")
    assert calls[0].traceparent == event.traceparent
    assert calls[0].principal.kind == "service"
    assert calls[0].tenant_id == "ten_a"
    await until(lambda: committed(kafka, topic) == 1)


async def test_an_event_that_comes_twice_has_one_effect(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME)
    start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)
    event = make_event(topic, "hello")
    send(kafka, event, event, event, make_event(topic, "next"))
    await until(lambda: len(things.seen) == 4)
    await until(lambda: committed(kafka, topic) == 4)
    assert await things.count() == 2


async def test_unknown_types_are_passed_over(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 1)
    start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)
    send(kafka, make_event(topic, "?", kind="berth.future.events.v9.Unheard"), make_event(topic, "known"))
    await until(lambda: committed(kafka, topic, 1) == 2)
    assert [event.type for event in things.seen] == [EVENT_TYPE]


async def test_a_poison_event_is_dead_lettered_once_and_redriven_for_its_consumer_alone(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 1)
    broken = True

    async def handle(event: Received) -> None:
        if broken and event.message == StringValue(value="poison"):
            raise ValueError("cannot\nsecret detail")
        await things(event)

    others: list[Received] = []

    async def other(event: Received) -> None:
        others.append(event)

    start(Consumer(NAME, [topic], {EVENT_TYPE: handle}, bootstrap=kafka.bootstrap).run)
    start(Consumer("other", [topic], {EVENT_TYPE: other}, bootstrap=kafka.bootstrap).run)
    poison = make_event(topic, "poison")
    send(kafka, poison, make_event(topic, "after"))
    took = await until(lambda: len(things.seen) == 1)
    print(f"a poison event held its partition up for {took:.1f} s")  # noqa: T201 - a measure worth seeing
    (dead,) = await asyncio.to_thread(read_all, kafka, f"{topic}.{NAME}.dlq", 1)
    headers = read_headers(dead)
    assert dead.value() == poison.payload
    assert headers["ce_id"] == poison.event_id
    assert headers["bertherrortype"] == "ValueError"
    assert headers["bertherror"] == "cannot"
    assert headers["berthattempts"] == str(MAX_ATTEMPTS)
    assert (headers["berthorigintopic"], headers["berthoriginoffset"]) == (topic, "0")

    broken = False
    assert await asyncio.to_thread(redrive, kafka.bootstrap, topic, NAME, limit=1) == 1
    await until(lambda: len(things.seen) == 2)
    assert things.seen[1].event_id == poison.event_id
    await until(lambda: committed(kafka, topic, 1) == 3)
    assert [event.event_id for event in others].count(poison.event_id) == 1
    assert await asyncio.to_thread(redrive, kafka.bootstrap, topic, NAME) == 0


class Tallied(KafkaConsumer):
    """Kafka's client, with its commits counted."""

    commits = 0

    def commit(self, *given: Any, **named: Any) -> Any:
        Tallied.commits += 1
        return super().commit(*given, **named)


async def test_offsets_are_committed_now_and_then_and_in_the_end(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("confluent_kafka.Consumer", Tallied)
    monkeypatch.setattr(Tallied, "commits", 0)
    topic = new_topic(NAME, 1)
    start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)
    began = time.monotonic()
    for number in range(25):
        await asyncio.to_thread(send, kafka, make_event(topic, str(number)))
        await until(lambda number=number: len(things.seen) == number + 1)  # type: ignore[misc]  # bound by its default
    await until(lambda: committed(kafka, topic, 1) == 25)
    assert Tallied.commits <= (time.monotonic() - began) / COMMIT_SECONDS + 1


@pytest.mark.parametrize("wrong", [{"berthversion": "seven"}, {"ce_id": ""}, {"content-type": "text/html"}])
async def test_what_is_no_event_is_dead_lettered_at_once(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any, wrong: dict[str, str]
) -> None:
    topic = new_topic(NAME, 1)
    start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)
    send(kafka, make_event(topic, "?"), headers=wrong)
    send(kafka, make_event(topic, "good"))
    await until(lambda: len(things.seen) == 1)
    (dead,) = await asyncio.to_thread(read_all, kafka, f"{topic}.{NAME}.dlq", 1)
    assert read_headers(dead)["bertherrortype"] == "EventMalformedError"


async def test_an_outage_makes_events_wait_but_never_dead(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 1)
    attempts = 0

    async def handle(event: Received) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= MAX_ATTEMPTS + 1:
            raise DependencyUnavailable
        await things(event)

    start(Consumer(NAME, [topic], {EVENT_TYPE: handle}, bootstrap=kafka.bootstrap).run)
    send(kafka, make_event(topic, "1"), make_event(topic, "2"))
    await until(lambda: len(things.seen) == 2)
    assert [event.message for event in things.seen] == [StringValue(value="1"), StringValue(value="2")]


async def test_an_outage_longer_than_the_patience_counts_as_failure(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, start: Any
) -> None:
    topic = new_topic(NAME, 1)

    async def handle(_event: Received) -> None:
        raise DependencyUnavailable

    start(Consumer(NAME, [topic], {EVENT_TYPE: handle}, bootstrap=kafka.bootstrap, outage_patience=0.0).run)
    send(kafka, make_event(topic, "1"))
    (dead,) = await asyncio.to_thread(read_all, kafka, f"{topic}.{NAME}.dlq", 1)
    assert read_headers(dead)["bertherrortype"] == "DependencyUnavailable"


async def test_a_handler_that_hangs_is_ended_and_other_partitions_go_on(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 3)

    async def handle(event: Received) -> None:
        if event.key == "slow":
            await asyncio.sleep(60)
        await things(event)

    start(Consumer(NAME, [topic], {EVENT_TYPE: handle}, bootstrap=kafka.bootstrap, handler_seconds=0.5).run)
    send(kafka, make_event(topic, "slow", key="slow"))
    send(kafka, *(make_event(topic, "quick", key=str(number)) for number in range(12)))

    async def applied() -> bool:
        return await things.count() == 12

    await until(applied)
    (dead,) = await asyncio.to_thread(read_all, kafka, f"{topic}.{NAME}.dlq", 1)
    assert read_headers(dead)["bertherrortype"] == "TimeoutError"


async def test_consumers_that_join_and_leave_lose_repeat_and_reorder_nothing(
    kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 4)

    def join() -> Any:
        return start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)

    first = join()
    keys = [f"key-{number}" for number in range(8)]
    for version in range(1, 21):
        send(kafka, *(make_event(topic, "x", key=key, version=version) for key in keys))
        if version == 5:
            join()
        if version == 10:
            await first.end()
            join()
        await asyncio.sleep(0.1)
    await until(lambda: _all_there(things, 160), 30)
    for key in keys:
        firsts = dict.fromkeys(event.version for event in things.seen if event.key == key)
        assert list(firsts) == list(range(1, 21)), f"{key} was out of order"
    assert await things.count() == 160


async def test_killed_after_its_commit_a_consumer_applies_the_event_no_second_time(
    urls: Urls, kafka: Broker, new_topic: Any, make_event: MakeEvent, things: Things, start: Any
) -> None:
    topic = new_topic(NAME, 1)
    send(kafka, make_event(topic, "once"))
    program = (
        "import asyncio, sys\n"
        "from services.chassis.db import Database\n"
        "from services.chassis.inbox import consumer\n"
        "from services.chassis.inbox.consumer import Consumer\n"
        "from tests.integration.chassis.test_consumer import NAME, EVENT_TYPE, Things\n"
        "consumer.SESSION_MILLISECONDS = 6_000\n"
        "async def main():\n"
        "    database = Database(sys.argv[1])\n"
        "    await database.open()\n"
        "    consumer = Consumer(NAME, [sys.argv[3]], {EVENT_TYPE: Things(database)}, bootstrap=sys.argv[2])\n"
        "    await consumer.run(asyncio.Event())\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, urls.app, kafka.bootstrap, topic],
        env=os.environ | {"BERTH_CRASH_AT": "consumer.after_commit", "PYTHONPATH": f"{ROOT}:{ROOT}/generated/python"},
        cwd=ROOT,
        check=False,
        timeout=40,
    )
    assert killed.returncode == -signal.SIGKILL
    assert await things.count() == 1
    assert committed(kafka, topic, 1) == 0
    start(Consumer(NAME, [topic], {EVENT_TYPE: things}, bootstrap=kafka.bootstrap).run)
    await until(lambda: committed(kafka, topic, 1) == 1, 30)
    assert len(things.seen) == 1
    assert await things.count() == 1


async def test_racing_claims_of_one_event_apply_it_once(database: Database) -> None:
    held = asyncio.Event()

    async def first() -> None:
        async with database.transaction("ten_a") as connection:
            await claim(connection, NAME, "evt_race", EVENT_TYPE, AT)
            held.set()
            await asyncio.sleep(0.2)

    async def second() -> None:
        await held.wait()
        async with database.transaction("ten_a") as connection:
            await claim(connection, NAME, "evt_race", EVENT_TYPE, AT)

    outcome = await asyncio.gather(first(), second(), return_exceptions=True)
    assert outcome[0] is None
    assert isinstance(outcome[1], AlreadyApplied)
    async with database.transaction("ten_a") as connection:
        await claim(connection, "another consumer", "evt_race", EVENT_TYPE, AT)


async def test_older_and_equal_versions_of_a_key_are_stale(database: Database) -> None:
    async def stale(version: int, topic: str = "t", key: str = "k") -> bool:
        async with database.transaction("ten_a") as connection:
            return await is_stale(connection, NAME, topic, key, version, AT)

    assert [await stale(version) for version in (2, 1, 2, 3)] == [False, True, True, False]
    assert not await stale(1, topic="other topic")
    assert not await stale(1, key="other key")


async def test_applied_events_are_forgotten_when_they_are_old(worker: Database) -> None:
    clock = FixedClock(datetime(2030, 3, 1, tzinfo=UTC))
    for age in (1, 29, 31, 60):
        async with worker.system() as connection:
            await inbox.claim(connection, NAME, f"evt_{age}", EVENT_TYPE, clock.now() - timedelta(days=age))
    from sqlalchemy import MetaData

    metadata = MetaData()
    inbox_tables(metadata)
    assert await Retention(worker, clock, metadata).run_once() == {"inbox": 2}
    rows = await worker.fetch_all("SELECT event_id FROM inbox ORDER BY event_id")
    assert [row.event_id for row in rows] == ["evt_1", "evt_29"]


async def _all_there(things: Things, number: int) -> bool:
    return await things.count() >= number
