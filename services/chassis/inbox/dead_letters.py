"""Where events go that cannot be applied, and the way back from there."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.chassis.kafka import Headers, client_settings, header_pairs

if TYPE_CHECKING:
    from confluent_kafka import Message, Producer

FLUSH_SECONDS = 1.0
MAX_ERROR_LENGTH = 300  # characters
# On a redriven event: the only consumer that is to take it.
REDRIVEN_FOR = "berthredrivenfor"
# Why, when and from where an event was dead-lettered; gone again once it is redriven.
FAILURE_HEADERS = (
    "bertherrortype",
    "bertherror",
    "bertherrortime",
    "berthattempts",
    "berthorigintopic",
    "berthoriginpartition",
    "berthoriginoffset",
)

_log = logging.getLogger(__name__)


def dead_letter_topic(topic: str, consumer: str) -> str:
    """Where one consumer puts what it cannot apply from one topic."""
    return f"{topic}.{consumer}.dlq"


class DeadLetters:
    """Writes events, with the error in their headers, to a consumer's dead-letter topics."""

    def __init__(self, bootstrap: str, consumer: str) -> None:
        self._bootstrap = bootstrap
        self._consumer = consumer
        self._producer: Producer | None = None

    async def put(self, message: Message, error: BaseException, attempts: int) -> None:
        """Write the message and wait, for as long as it takes, until the broker has it."""
        headers: Headers = [
            *header_pairs(message),
            ("bertherrortype", type(error).__name__),
            ("bertherror", describe(error)),
            ("bertherrortime", datetime.now(UTC).isoformat()),
            ("berthattempts", str(attempts)),
            ("berthorigintopic", message.topic() or ""),
            ("berthoriginpartition", str(message.partition())),
            ("berthoriginoffset", str(message.offset())),
        ]
        topic = dead_letter_topic(message.topic() or "", self._consumer)
        while not await asyncio.to_thread(self._send, topic, message.key(), message.value(), headers):
            _log.error("The dead-letter topic %s takes nothing; its partition waits.", topic)
            await asyncio.sleep(FLUSH_SECONDS)

    def _send(self, topic: str, key: bytes | str | None, value: bytes | str | None, headers: Headers) -> bool:
        if self._producer is None:
            self._producer = open_producer(self._bootstrap, f"{self._consumer}-dead-letters")
        return send(self._producer, topic, key, value, headers)


def describe(error: BaseException) -> str:
    """An error in one line, without what databases append in further lines: the values of the row."""
    text = str(error).strip()
    return (text.splitlines()[0] if text else "")[:MAX_ERROR_LENGTH]


def open_producer(bootstrap: str, name: str) -> Producer:
    """A producer for few, important messages."""
    from confluent_kafka import Producer

    return Producer(
        client_settings(bootstrap, name)
        | {"enable.idempotence": True, "acks": "all", "message.timeout.ms": 0, "partitioner": "murmur2_random"}
    )


def send(producer: Producer, topic: str, key: bytes | str | None, value: bytes | str | None, headers: Headers) -> bool:
    """Send one message and wait until the broker has it; False where it refuses."""
    taken: list[bool] = []
    producer.produce(
        topic, key=key, value=value, headers=headers, on_delivery=lambda error, _: taken.append(error is None)
    )
    while producer.flush(FLUSH_SECONDS):
        continue
    return bool(taken and taken[0])
