"""A method that answers with a stream passes through the same interceptors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import pytest
from berth.options.v1 import policy_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from services.chassis.errors import NotFound
from services.chassis.rpc.context import current
from tests.integration.rpc.serving import TENANT, Dial, Serve, refused

SERVICE = "berth.streams.v1.StreamService"
DEMO = (("berth-tenant", "demo"),)


@pytest.fixture(scope="module")
def number() -> Any:
    """The message class of a contract of its own: none of ours has a stream yet."""
    file = descriptor_pb2.FileDescriptorProto(name="streams.proto", package="berth.streams.v1", syntax="proto3")
    message = file.message_type.add(name="Number")
    message.field.add(name="value", number=1, type="TYPE_INT32", label="LABEL_OPTIONAL")
    method = file.service.add(name="StreamService").method.add(name="Count", server_streaming=True)
    method.input_type = method.output_type = ".berth.streams.v1.Number"
    policy = method.options.Extensions[policy_pb2.policy]
    policy.public = True
    policy.deadline.seconds = 1
    policy.rate_class = policy_pb2.MethodPolicy.READ
    descriptor_pool.Default().Add(file)
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("berth.streams.v1.Number"))


def adder(number: Any, count: Callable[..., Any]) -> Callable[[Any, Any], None]:
    def add(_servicer: object, server: Any) -> None:
        handler = grpc.unary_stream_rpc_method_handler(count, number.FromString, number.SerializeToString)
        server.add_registered_method_handlers(SERVICE, {"Count": handler})

    return add


def counting(channel: grpc.aio.Channel, number: Any, to: int, metadata: Any = DEMO) -> Any:
    method: Any = partial(channel.unary_stream, f"/{SERVICE}/Count")(number.SerializeToString, number.FromString)
    return method(number(value=to), metadata=metadata)


async def test_it_answers_piece_by_piece(number: Any, serve: Serve, dial: Dial) -> None:
    async def count(request: Any, _context: object) -> AsyncIterator[Any]:
        assert current().tenant_id == TENANT
        for value in range(request.value):
            yield number(value=value)

    async with serve(adder(number, count)) as running, dial(running, "gateway") as channel:
        assert [answer.value async for answer in counting(channel, number, 3)] == [0, 1, 2]


async def test_it_is_refused_before_and_in_the_middle(number: Any, serve: Serve, dial: Dial) -> None:
    async def count(_request: Any, _context: object) -> AsyncIterator[Any]:
        yield number(value=7)
        raise NotFound(resource="number")

    async with serve(adder(number, count)) as running, dial(running, "gateway") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(counting(channel, number, 3, metadata=())))
        assert refused(caught.value).reason == "TENANT_UNKNOWN"

        answers = aiter(counting(channel, number, 3))
        assert (await anext(answers)).value == 7
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(answers)
        assert refused(caught.value).reason == "NOT_FOUND"


async def test_it_ends_at_its_deadline(number: Any, serve: Serve, dial: Dial) -> None:
    async def count(_request: Any, _context: object) -> AsyncIterator[Any]:
        yield number(value=1)
        await asyncio.sleep(3600)

    async with serve(adder(number, count)) as running, dial(running, "gateway") as channel:
        answers = aiter(counting(channel, number, 1))
        await anext(answers)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(answers)
    assert refused(caught.value).reason == "DEADLINE_EXCEEDED"
