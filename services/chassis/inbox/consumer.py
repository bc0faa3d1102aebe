"""The consumer: takes events from Kafka in order, has each applied once in effect, and never stands still for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message as ProtoMessage
from prometheus_client import Counter

from services.chassis.crash import crash_point
from services.chassis.errors import Refusal
from services.chassis.inbox.dead_letters import REDRIVEN_FOR, DeadLetters
from services.chassis.inbox.event import EventMalformedError, Handler, Received, message_class, received
from services.chassis.inbox.lane import Lane
from services.chassis.inbox.table import AlreadyApplied
from services.chassis.kafka import client_settings, read_headers
from services.chassis.rpc.context import background
from services.chassis.rpc.errors import RemoteError, refusal_of

if TYPE_CHECKING:
    from confluent_kafka import Consumer as KafkaConsumer
    from confluent_kafka import Message, TopicPartition

FETCH = 200  # messages
FETCH_SECONDS = 0.5  # the longest wait for a first one
COMMIT_SECONDS = 0.5  # between two commits of offsets, each of which is a write for Kafka
MAX_ATTEMPTS = 5  # in place, of an event whose handler fails
FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0
OUTAGE_PATIENCE_SECONDS = 900.0  # how long an event waits for something that is out, before it counts as failed
HANDLER_SECONDS = 30.0  # the longest one attempt may take
SESSION_MILLISECONDS = 10_000  # a consumer that is killed gives its partitions up after this
POLL_LIMIT_MILLISECONDS = 120_000
REVOKE_SECONDS = 10.0  # how long a rebalance waits for the event in hand

# Refusals that say "not now": the event is not to blame.
_OUTAGES = frozenset(
    {
        "DEPENDENCY_UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "DEADLINE_TOO_SHORT",
        "OVERLOADED",
        "RATE_LIMITED",
        "DRAINING",
        "IDEMPOTENCY_IN_PROGRESS",
    }
)

_events = Counter("berth_inbox_events", "Events taken from Kafka, by what became of them.", ["consumer", "outcome"])

_log = logging.getLogger(__name__)


class Consumer:
    """One consumer of a service. Partitions go in parallel; within one, events go in order."""

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        handlers: Mapping[str, Handler],
        *,
        bootstrap: str,
        outage_patience: float = OUTAGE_PATIENCE_SECONDS,
        handler_seconds: float = HANDLER_SECONDS,
    ) -> None:
        """`handlers` by the events' full proto names; events of other types are skipped."""
        self._name = name
        self._topics = list(topics)
        self._handlers = handlers
        self._classes: dict[str, type[ProtoMessage]] = {kind: message_class(kind) for kind in handlers}
        self._bootstrap = bootstrap
        self._outage_patience = outage_patience
        self._handler_seconds = handler_seconds
        self._dead_letters = DeadLetters(bootstrap, name)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._commit_from = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop`; then finish the events in hand, commit their offsets and leave the group."""
        loop = asyncio.get_running_loop()
        # One thread makes all calls of the client, one after the other; the handlers run on the loop.
        with ThreadPoolExecutor(1, thread_name_prefix=f"consumer-{self._name}") as thread:
            consumer = await loop.run_in_executor(thread, self._join, loop)
            try:
                while not stop.is_set():
                    for message in await loop.run_in_executor(thread, self._settle_and_fetch, consumer):
                        self._place(message)
            finally:
                # Leaving revokes all partitions, which finishes what is in hand.
                await loop.run_in_executor(thread, consumer.close)

    def _join(self, loop: asyncio.AbstractEventLoop) -> KafkaConsumer:
        from confluent_kafka import Consumer as KafkaConsumer

        consumer = KafkaConsumer(
            client_settings(self._bootstrap, self._name)
            | {
                "group.id": self._name,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MILLISECONDS,
                "max.poll.interval.ms": POLL_LIMIT_MILLISECONDS,
                "on_commit": _report_commit,
            }
        )

        def revoked(_consumer: KafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
            gone = asyncio.run_coroutine_threadsafe(self._release(list(partitions)), loop).result()
            if offsets := _offsets(gone):
                consumer.commit(offsets=offsets, asynchronous=False)

        def lost(_consumer: KafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
            # Another member has them already: its view of the offsets counts.
            asyncio.run_coroutine_threadsafe(self._release(list(partitions)), loop).result()

        consumer.subscribe(self._topics, on_revoke=revoked, on_lost=lost)
        return consumer

    def _place(self, message: Message) -> None:
        if message.error() is not None:
            _log.warning("Kafka: %s", message.error())
            return
        place = (message.topic() or "", message.partition() or 0)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(*place, partial(self._apply))
        lane.put(message)

    def _settle_and_fetch(self, consumer: KafkaConsumer) -> list[Message]:
        """Commit what is done, keep full lanes from filling further, and wait for what comes next."""
        lanes = list(self._lanes.values())
        if (now := time.monotonic()) >= self._commit_from and (offsets := _offsets(lanes)):
            consumer.commit(offsets=offsets, asynchronous=True)
            self._commit_from = now + COMMIT_SECONDS
        for lane in lanes:
            if lane.should_pause():
                consumer.pause([lane.partition()])
            elif lane.should_resume():
                consumer.resume([lane.partition()])
        return _fetch(consumer)

    async def _release(self, partitions: Sequence[TopicPartition]) -> list[Lane]:
        lanes = [self._lanes.pop((gone.topic, gone.partition), None) for gone in partitions]
        released = [lane for lane in lanes if lane is not None]
        await asyncio.gather(*(lane.stop(REVOKE_SECONDS) for lane in released))
        return released

    async def _apply(self, message: Message) -> None:
        """Do everything for one message; when this returns, its offset may be committed."""
        headers = read_headers(message)
        handler = self._handlers.get(headers.get("ce_type", ""))
        if handler is None or headers.get(REDRIVEN_FOR, self._name) != self._name:
            self._count("skipped")
            return
        try:
            event = received(
                message.topic() or "", message.key(), message.value(), headers, self._classes[headers["ce_type"]]
            )
        except EventMalformedError as error:
            await self._dead_letter(message, error, attempts=1)
            return
        attempts = 0
        waited = 0.0
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            failure = await self._attempt(handler, event)
            if failure is None:
                return
            if _is_outage(failure) and waited < self._outage_patience:
                waited += backoff
            else:
                attempts += 1
                if attempts >= MAX_ATTEMPTS:
                    await self._dead_letter(message, failure, attempts)
                    return
            _log.warning(
                "%s cannot apply %s %s yet: %s", self._name, event.type, event.event_id, type(failure).__name__
            )
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _attempt(self, handler: Handler, event: Received) -> BaseException | None:
        work = background(
            f"{self._name}/{event.type}",
            tenant_id=event.tenant_id,
            seconds=self._handler_seconds,
            traceparent=event.headers.get("traceparent", ""),
        )
        try:
            with work:
                async with asyncio.timeout(self._handler_seconds):
                    await handler(event)
        except AlreadyApplied:
            self._count("repeated")
            return None
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a handler raises, the partition moves on
            return error
        self._count("applied")
        crash_point("consumer.after_commit")
        return None

    async def _dead_letter(self, message: Message, error: BaseException, attempts: int) -> None:
        _log.error(
            "%s gives an event of %s up after %d attempts", self._name, message.topic(), attempts, exc_info=error
        )
        await self._dead_letters.put(message, error, attempts)
        self._count("dead")

    def _count(self, outcome: str) -> None:
        _events.labels(self._name, outcome).inc()


def _fetch(consumer: KafkaConsumer) -> list[Message]:
    first = consumer.poll(FETCH_SECONDS)
    # What else has arrived comes along; waiting for more would only delay the first.
    return [] if first is None else [first, *consumer.consume(FETCH - 1, 0)]


def _offsets(lanes: Iterable[Lane]) -> list[TopicPartition]:
    return [offset for lane in lanes if (offset := lane.take_offset()) is not None]


def _is_outage(error: BaseException) -> bool:
    if isinstance(error, RemoteError):
        error = refusal_of(error) or error
    return isinstance(error, Refusal) and error.reason in _OUTAGES


def _report_commit(error: Any, _partitions: list[TopicPartition]) -> None:
    if error is not None:
        # Harmless: the events come again, and their inbox rows say that they are done.
        _log.warning("Offsets were not committed: %s", error)
