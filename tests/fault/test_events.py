"""Consumers in trouble: one bad event is put aside once, the rest of its partition goes on."""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from contextlib import closing

from berth.payment.events.v1 import events_pb2 as events
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.fault.client import new_key
from tests.fault.figures import exactly, judge, seconds
from tests.fault.world import World

PAYMENT_TOPIC = "berth.payment.v1"
TENANT = "ten_01kdwcj2m0f5k8xwatxbn3cw00"
FAILED = events.PaymentAttemptFailed.DESCRIPTOR.full_name
SUCCEEDED = events.PaymentSucceeded.DESCRIPTOR.full_name
CONSUMERS = ("booking", "notification")  # who hears of failed payments
ASLEEP_SECONDS = 15.0  # beyond a consumer's session: its partitions are taken from it


def _publish(world: World, key: str, kind: str, value: bytes) -> str:
    """Puts an event of payment's into its topic, as payment's relay would; answers its id."""
    event_id = f"evt_{uuid.uuid4().hex[:26]}"
    producer = Producer({"bootstrap.servers": world.mesh.kafka, "partitioner": "murmur2_random"})
    headers: list[tuple[str, str | bytes | None]] = [
        ("ce_id", event_id),
        ("ce_source", "//berth.dev/payment"),
        ("ce_type", kind),
        ("ce_time", "2026-01-01T00:00:00+00:00"),
        ("ce_specversion", "1.0"),
        ("content-type", "application/protobuf"),
        ("berthtenant", TENANT),
        ("berthversion", "1"),
    ]
    producer.produce(PAYMENT_TOPIC, key=key.encode(), value=value, headers=headers)
    assert producer.flush(20) == 0
    return event_id


def _dead(world: World, consumer: str, event_id: str) -> int:
    """How often the event lies in the consumer's dead-letter topic."""
    topic = f"{PAYMENT_TOPIC}.{consumer}.dlq"
    settings: dict[str, str | int | float | bool | object] = {
        "bootstrap.servers": world.mesh.kafka,
        "group.id": new_key(),
        "enable.auto.commit": False,
    }
    with closing(Consumer(settings)) as reader:
        known = reader.list_topics(topic, timeout=10).topics[topic]
        found = 0
        for partition in known.partitions:
            low, high = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            if high <= low:
                continue
            reader.assign([TopicPartition(topic, partition, low)])
            for message in reader.consume(high - low, timeout=10):
                headers = dict(message.headers() or [])
                found += headers.get("ce_id") == event_id.encode()
        return found


async def test_a_poison_event_is_put_aside_once_and_its_partition_goes_on(world: World) -> None:
    # Paid by browser, so that only what comes after the poison, in its partition, tells of the payment.
    booked = await world.customer.book_surely(await world.one_night(token=""), new_key())
    assert booked.ok, booked
    booking_id = booked.body["bookingId"]
    poison = await asyncio.to_thread(_publish, world, booking_id, FAILED, b"\xff\xfe no message")
    unknown = await asyncio.to_thread(_publish, world, booking_id, "berth.payment.events.v1.NotYetInvented", b"")
    await world.pay(booked.body["payment"]["clientSecret"])
    confirmed = await world.until_status(booking_id, "CONFIRMED")
    drained = await world.drained()
    # Each consumer reads the topic in its own time; that nothing is left to do elsewhere says nothing of the other one.
    for consumer in CONSUMERS:
        await world.until(lambda consumer=consumer: _dead(world, consumer, poison) > 0, 30)
    dead = [await asyncio.to_thread(_dead, world, consumer, poison) for consumer in CONSUMERS]
    skipped = await asyncio.to_thread(_dead, world, "booking", unknown)
    heard = world.rows(
        "booking",
        "SELECT count(*) AS n FROM inbox WHERE type = %(kind)s AND apply_time > now() - interval '2 min'",
        kind=SUCCEEDED,
    )
    judge(
        "poison event and unknown type",
        "dead-lettered once",
        exactly("dead letters of each consumer", max(dead), 1),
        exactly("dead letters of the unknown type", skipped, 0),
        seconds("next in its partition confirmed after", confirmed, most=10.0),
    )
    assert dead == [1, 1]
    assert heard[0]["n"] >= 1, "the partition did not move on"
    assert drained < 60


async def test_a_consumer_that_falls_asleep_catches_up_and_tells_once(world: World) -> None:
    part = world.mesh.part("notification")
    body = await world.one_night(capacity=10)
    await asyncio.to_thread(part.signal, signal.SIGSTOP)
    began = time.monotonic()
    try:
        replies = [await world.customer.book_surely(body, new_key()) for _ in range(10)]
        slowest = max(reply.seconds for reply in replies)
        await asyncio.sleep(max(0.0, ASLEEP_SECONDS - (time.monotonic() - began)))
    finally:
        await asyncio.to_thread(part.signal, signal.SIGCONT)
    drained = await world.drained()

    def told() -> list[str]:
        rows = world.rows(
            "notification",
            "SELECT booking_id FROM deliveries WHERE kind = 'booking_confirmed' AND booking_id = ANY(%(ids)s)",
            ids=[reply.body["bookingId"] for reply in replies],
        )
        return [row["booking_id"] for row in rows]

    await world.until(lambda: len(told()) >= len(replies), 60)
    judge(
        f"consumer stopped for {ASLEEP_SECONDS:.0f} s",
        "I7 I12 nobody waits for it",
        seconds("slowest booking", slowest, most=2.0),
        exactly("told", len(told()), 10),
        exactly("told twice", len(told()) - len(set(told())), 0),
        seconds("drained after", drained, most=30.0),
    )
