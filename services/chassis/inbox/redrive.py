"""Brings dead-lettered events back: `python -m services.chassis.inbox.redrive --topic … --consumer …`.

The events return to the topic they came from, marked for the one consumer that could not apply them; the others skip
them. Run it once the reason has been dealt with: what fails again is dead-lettered again.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from services.chassis.inbox.dead_letters import (
    FAILURE_HEADERS,
    REDRIVEN_FOR,
    dead_letter_topic,
    open_producer,
    send,
)
from services.chassis.kafka import Headers, client_settings, header_pairs

if TYPE_CHECKING:
    from confluent_kafka import Message

IDLE_SECONDS = 5.0  # the topic is empty when nothing comes for this long


def redrive(bootstrap: str, topic: str, consumer: str, *, limit: int | None = None) -> int:
    """Bring back up to `limit` events; returns how many. An interrupted run goes on where it stopped."""
    from confluent_kafka import Consumer as KafkaConsumer

    source = KafkaConsumer(
        client_settings(bootstrap, f"{consumer}-redrive")
        | {"group.id": f"{consumer}.redrive", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    )
    source.subscribe([dead_letter_topic(topic, consumer)])
    target = open_producer(bootstrap, f"{consumer}-redrive")
    count = 0
    try:
        while limit is None or count < limit:
            message = source.poll(IDLE_SECONDS)
            if message is None:
                break
            if message.error() is not None:
                continue
            headers = _headers(message, consumer)
            if not send(target, topic, message.key(), message.value(), headers):
                raise RuntimeError(f"{topic} does not take the events back; {count} were redriven.")
            source.commit(message=message, asynchronous=False)
            count += 1
    finally:
        source.close()
    return count


def _headers(message: Message, consumer: str) -> Headers:
    kept: Headers = [
        (name, value) for name, value in header_pairs(message) if name not in FAILURE_HEADERS and name != REDRIVEN_FOR
    ]
    return [*kept, (REDRIVEN_FOR, consumer)]


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="redrive", description="Bring dead-lettered events back to their consumer.")
    parser.add_argument("--topic", required=True, help="the topic the events came from, e.g. berth.booking.v1")
    parser.add_argument("--consumer", required=True, help="the consumer that could not apply them, e.g. notification")
    parser.add_argument("--limit", type=int, help="how many at most; all unless given")
    parser.add_argument("--bootstrap", default=os.environ.get("BERTH_KAFKA"), help="Kafka's address; else BERTH_KAFKA")
    options = parser.parse_args(arguments)
    if not options.bootstrap:
        parser.error("--bootstrap or BERTH_KAFKA is needed")
    count = redrive(options.bootstrap, options.topic, options.consumer, limit=options.limit)
    sys.stdout.write(f"{count} events went back to {options.topic} for {options.consumer}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
