"""The relay: publishes what waits in the outbox, in order, at least once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from zlib import crc32

import psycopg
from prometheus_client import Counter, Gauge
from psycopg.rows import namedtuple_row

from services.chassis.crash import crash_point
from services.chassis.db.engine import Database
from services.chassis.errors import Refusal
from services.chassis.kafka import client_settings, event_headers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from confluent_kafka import KafkaError, Message, Producer

BATCH = 500  # events
POLL_SECONDS = 1.0  # asleep, the relay looks this often by itself
MIN_INTERVAL_SECONDS = 0.1  # busy, it looks this often at most: events gather into batches
STANDBY_SECONDS = 1.0  # how often a standby asks whether it may lead
LINGER_MILLISECONDS = 1_000  # longer than handing a batch to librdkafka takes
FLUSH_SECONDS = 1.0  # how long one wait for acknowledgements blocks a thread
OBSERVE_SECONDS = 5.0  # how often the waiting events are counted
FIRST_BACKOFF_SECONDS = 0.25
MAX_BACKOFF_SECONDS = 5.0
_CHANNEL = "outbox"

_SELECT = (
    b"SELECT sequence, event_id, tenant_id, topic, key, type, payload, version, event_time, traceparent FROM outbox"
    b" WHERE publish_time IS NULL ORDER BY sequence LIMIT %s"
)
_MARK = b"UPDATE outbox SET publish_time = clock_timestamp() WHERE sequence = ANY(%s)"
_OBSERVE = (
    b"SELECT count(*) AS waiting,"
    b" coalesce(extract(epoch FROM clock_timestamp() - min(create_time)), 0)::float8 AS age"
    b" FROM outbox WHERE publish_time IS NULL"
)

_waiting = Gauge("berth_outbox_unpublished_events", "Events in the outbox that are not yet published.")
_age = Gauge("berth_outbox_oldest_unpublished_seconds", "Age of the oldest event that is not yet published.")
_published = Counter("berth_outbox_published_events", "Events that Kafka has acknowledged.")
_failed = Counter("berth_outbox_failed_deliveries", "Events that Kafka refused; they are tried again.")

_log = logging.getLogger(__name__)

Connection = psycopg.AsyncConnection[Any]


class Relay:
    """Publishes one service's outbox. Of all the relays of a service one leads; the others stand by."""

    def __init__(self, database: Database, bootstrap: str, source: str) -> None:
        """`database` is the worker's; `source` the service's name, as the events state it."""
        self._database = database
        self._bootstrap = bootstrap
        self._source = source
        self._woken = asyncio.Event()
        self._producer: Producer | None = None
        self._backoff = FIRST_BACKOFF_SECONDS
        self._observe_at = 0.0

    def wake(self) -> None:
        """Say that events wait: called after the commit that stored them, at no cost."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop`; whatever fails meanwhile is tried again."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                try:
                    async with self._database.alone() as connection:
                        await self._stand_by(connection, stop)
                        await self._lead(connection, stop)
                except (psycopg.Error, Refusal) as error:
                    _log.warning("The relay lost its database (%s) and tries again.", type(error).__name__)
                    await self._pause(stop)
        finally:
            stopping.cancel()
            self._drop_producer()

    async def _stand_by(self, connection: Connection, stop: asyncio.Event) -> None:
        """Wait until no other relay of the service leads."""
        key = crc32(b"outbox relay")
        while not stop.is_set():
            cursor = await connection.execute(b"SELECT pg_try_advisory_lock(%s)", (key,))
            row = await cursor.fetchone()
            if row is not None and row[0]:
                return
            if self._woken.is_set():
                # The leader runs in another process. Once an interval, and outside of everybody's transactions,
                # is often enough to tell it: NOTIFY in each transaction would cost most of the commits.
                self._woken.clear()
                await connection.execute(f"NOTIFY {_CHANNEL}".encode())
                await asyncio.sleep(MIN_INTERVAL_SECONDS)
            else:
                await self._sleep(STANDBY_SECONDS)

    async def _lead(self, connection: Connection, stop: asyncio.Event) -> None:
        connection.add_notify_handler(_ignore)
        await connection.execute(f"LISTEN {_CHANNEL}".encode())
        while not stop.is_set():
            started = time.monotonic()
            self._woken.clear()
            found, delivered = await self._publish(connection, stop)
            if started >= self._observe_at:
                await self._observe(connection)
                self._observe_at = started + OBSERVE_SECONDS
            if delivered < found:
                await self._pause(stop)
                continue
            self._backoff = FIRST_BACKOFF_SECONDS
            if found < BATCH:
                async with _said(connection, self._woken):
                    await self._sleep(POLL_SECONDS)
                await asyncio.sleep(max(0.0, started + MIN_INTERVAL_SECONDS - time.monotonic()))

    async def _publish(self, connection: Connection, stop: asyncio.Event) -> tuple[int, int]:
        """Publish one batch; returns how many events there were and how many Kafka has acknowledged."""
        cursor: psycopg.AsyncCursor[Any] = psycopg.AsyncCursor(connection, row_factory=namedtuple_row)
        await cursor.execute(_SELECT, (BATCH,))
        rows = await cursor.fetchall()
        if not rows:
            return 0, 0
        delivered = await self._deliver(rows, stop)
        if delivered:
            crash_point("relay.after_ack")
            await connection.execute(_MARK, (delivered,))
            _published.inc(len(delivered))
        return len(rows), len(delivered)

    async def _deliver(self, rows: Sequence[Any], stop: asyncio.Event) -> list[int]:
        producer = self._open_producer()
        delivered: list[int] = []
        fatal = False

        def reported(sequence: int, error: KafkaError | None) -> None:
            nonlocal fatal
            if error is None:
                delivered.append(sequence)
                return
            fatal = fatal or error.fatal()
            _failed.inc()
            _log.error("Kafka refused an event: %s", error.str())

        for row in rows:
            producer.produce(
                row.topic,
                key=row.key,
                value=row.payload,
                headers=event_headers(
                    event_id=row.event_id,
                    source=self._source,
                    event_type=row.type,
                    tenant_id=row.tenant_id,
                    version=row.version,
                    time=row.event_time,
                    traceparent=row.traceparent,
                ),
                on_delivery=_reporting(row.sequence, reported),
            )
        # Messages do not time out by themselves: after an outage they arrive late but in order.
        while await asyncio.to_thread(producer.flush, FLUSH_SECONDS):
            if stop.is_set():
                producer.purge()
        if fatal:
            self._drop_producer()
        return delivered

    async def _observe(self, connection: Connection) -> None:
        row = await (await connection.execute(_OBSERVE)).fetchone()
        if row is not None:
            waiting, age = row
            _waiting.set(waiting)
            _age.set(age)

    def _open_producer(self) -> Producer:
        if self._producer is None:
            from confluent_kafka import Producer

            self._producer = Producer(
                client_settings(self._bootstrap, f"{self._source}-relay")
                | {
                    "enable.idempotence": True,
                    "acks": "all",
                    "message.timeout.ms": 0,
                    # A batch leaves when `flush` says so, in one request a partition. What is left over would wait for
                    # the first request's answer, and librdkafka waits for that in a loop that fills a core.
                    "linger.ms": LINGER_MILLISECONDS,
                    "partitioner": "murmur2_random",  # where Java's clients put the same keys
                    "queue.buffering.max.messages": BATCH * 2,
                }
            )
        return self._producer

    def _drop_producer(self) -> None:
        self._producer = None

    async def _pause(self, stop: asyncio.Event) -> None:
        self._woken.clear()
        if not stop.is_set():
            try:
                await asyncio.wait_for(stop.wait(), self._backoff)
            except TimeoutError:
                self._backoff = min(self._backoff * 2, MAX_BACKOFF_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._woken.set()


@asynccontextmanager
async def _said(connection: Connection, woken: asyncio.Event) -> AsyncIterator[None]:
    """While the block sleeps, wake it when the server says something: a notification, or good-bye."""
    loop, socket = asyncio.get_running_loop(), connection.pgconn.socket
    loop.add_reader(socket, woken.set)
    try:
        yield
    finally:
        loop.remove_reader(socket)


def _reporting(sequence: int, report: Any) -> Any:
    def on_delivery(error: KafkaError | None, _message: Message) -> None:
        report(sequence, error)

    return on_delivery


def _ignore(_notification: psycopg.Notify) -> None:
    """The wake-up was all there is to a notification."""
