"""From a Kafka message to an event, one partition's lane, and what a dead letter says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from confluent_kafka import Message
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.inbox.dead_letters import MAX_ERROR_LENGTH, dead_letter_topic, describe
from services.chassis.inbox.event import EventMalformedError, message_class, received
from services.chassis.inbox.lane import EMPTY_ENOUGH, FULL, Lane
from services.chassis.kafka import event_headers
from tests.unit.chassis.turns import settle

HEADERS = {
    name: str(value)
    for name, value in event_headers(
        event_id="evt_1",
        source="booking",
        event_type="google.protobuf.StringValue",
        tenant_id="ten_1",
        version=7,
        time=datetime(2030, 1, 1, tzinfo=UTC),
        traceparent="",
    )
}
VALUE = StringValue(value="x").SerializeToString()


def test_what_was_written_is_read() -> None:
    event = received("t", b"bkg_1", VALUE, HEADERS, StringValue)
    assert (event.event_id, event.tenant_id, event.key, event.version) == ("evt_1", "ten_1", "bkg_1", 7)
    assert event.message == StringValue(value="x")
    assert event.time == datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [{name: ""} for name in ("ce_id", "ce_type", "ce_time", "berthtenant", "berthversion")]
    + [{"berthversion": "x"}, {"ce_time": "yesterday"}, {"content-type": "application/json"}],
)
def test_what_is_no_event_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(EventMalformedError):
        received("t", b"k", VALUE, HEADERS | wrong, StringValue)


def test_a_broken_value_is_refused() -> None:
    with pytest.raises(EventMalformedError):
        received("t", b"k", b"\xff\xff\xff", HEADERS, StringValue)


def test_handlers_for_unknown_messages_are_found_at_the_start() -> None:
    assert message_class("google.protobuf.StringValue") is StringValue
    with pytest.raises(KeyError):
        message_class("berth.nothing.v1.Unheard")


def test_errors_are_told_in_one_short_line() -> None:
    detail = 'duplicate key value violates "users_email_key"\nDETAIL:  Key (email)=(ada@example.org) already exists.'
    assert describe(ValueError(detail)) == 'duplicate key value violates "users_email_key"'
    assert len(describe(ValueError("x" * 10_000))) == MAX_ERROR_LENGTH
    assert describe(ValueError()) == ""
    assert dead_letter_topic("berth.booking.v1", "notification") == "berth.booking.v1.notification.dlq"


@dataclass
class Sent:
    number: int

    def offset(self) -> int:
        return self.number


def message(number: int) -> Message:
    return cast("Message", Sent(number))


async def test_a_lane_works_in_order_and_offers_what_is_done_once() -> None:
    done: list[int] = []

    async def apply(found: Message) -> None:
        done.append(cast("int", found.offset()))

    lane = Lane("t", 0, apply)
    assert lane.take_offset() is None
    for number in range(5):
        lane.put(message(number))
    await settle()
    assert done == [0, 1, 2, 3, 4]
    offset = lane.take_offset()
    assert offset is not None
    assert offset.offset == 5
    assert lane.take_offset() is None
    await lane.stop(1)


async def test_a_full_lane_pauses_and_resumes_once() -> None:
    go = asyncio.Event()

    async def apply(_: Message) -> None:
        await go.wait()

    lane = Lane("t", 0, apply)
    for number in range(FULL + 2):
        lane.put(message(number))
    await settle()
    assert [lane.should_pause(), lane.should_pause()] == [True, False]
    assert not lane.should_resume()
    go.set()
    for _ in range(FULL - EMPTY_ENOUGH + 20):
        await asyncio.sleep(0)
    assert [lane.should_resume(), lane.should_resume()] == [True, False]
    await lane.stop(1)


async def test_a_lane_that_stops_finishes_what_is_in_hand_and_leaves_the_rest() -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def apply(_: Message) -> None:
        begun.set()
        await go.wait()

    lane = Lane("t", 0, apply)
    lane.put(message(0))
    lane.put(message(1))
    await begun.wait()
    stopping = asyncio.create_task(lane.stop(60))
    await settle()
    go.set()
    await stopping
    offset: Any = lane.take_offset()
    assert offset.offset == 1


async def test_a_broken_lane_is_noticed() -> None:
    async def apply(_: Message) -> None:
        raise RuntimeError("broken")

    lane = Lane("t", 0, apply)
    lane.put(message(0))
    await settle()
    with pytest.raises(RuntimeError):
        lane.take_offset()
