"""Every call has a deadline, it shrinks from hop to hop, and what runs out of it says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from berth.auth.v1 import tenant_service_pb2
from berth.auth.v1.tenant_service_pb2_grpc import KeyServiceStub, add_KeyServiceServicer_to_server

from services.chassis.errors import DeadlineExceeded
from services.chassis.rpc import context
from services.chassis.rpc.errors import RemoteError
from tests.integration.rpc.serving import Dial, Open, Running, Serve, refusal

if TYPE_CHECKING:
    from berth.auth.v1.tenant_service_pb2_grpc import KeyServiceAsyncStub

POLICY_SECONDS = 2.0  # of GetJwks
ASK = tenant_service_pb2.GetJwksRequest()


@pytest.fixture
async def keys(serve: Serve, dial: Dial) -> AsyncIterator[tuple[Running, KeyServiceAsyncStub]]:
    async with serve(add_KeyServiceServicer_to_server) as running, dial(running, "inventory") as channel:
        yield running, KeyServiceStub(channel)


def seconds_left(running: Running) -> list[float]:
    """The times that the handler had left, as it saw them."""
    seen: list[float] = []

    async def handler(_request: object) -> Any:
        left = context.remaining()
        assert left is not None
        seen.append(left)
        return tenant_service_pb2.Jwks()

    running.scripted.handlers["GetJwks"] = handler
    return seen


async def test_the_policy_gives_a_deadline_and_caps_the_callers(keys: tuple[Running, KeyServiceAsyncStub]) -> None:
    running, stub = keys
    seen = seconds_left(running)
    await stub.GetJwks(ASK)
    await stub.GetJwks(ASK, timeout=3600)
    await stub.GetJwks(ASK, timeout=0.5)
    assert seen[0] == pytest.approx(POLICY_SECONDS, abs=0.1)
    assert seen[1] == pytest.approx(POLICY_SECONDS, abs=0.1)
    assert 0.3 < seen[2] < 0.5


async def test_too_little_time_is_refused_before_anything_begins(keys: tuple[Running, KeyServiceAsyncStub]) -> None:
    running, stub = keys
    seconds_left(running)
    await stub.GetJwks(ASK)  # the connection's handshake is not to be measured
    running.scripted.requests.clear()
    seen = await refusal(stub.GetJwks(ASK, timeout=0.08))
    assert (seen.code, seen.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT")
    assert running.scripted.requests == []


async def test_work_is_cancelled_at_the_deadline_and_the_caller_hears_why(
    keys: tuple[Running, KeyServiceAsyncStub],
) -> None:
    running, stub = keys
    cancelled = asyncio.Event()

    async def forever(_request: object) -> Any:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    running.scripted.handlers["GetJwks"] = forever
    began = time.monotonic()
    seen = await refusal(stub.GetJwks(ASK, timeout=0.3))
    assert (seen.code, seen.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert time.monotonic() - began < 0.35
    assert cancelled.is_set()


async def test_a_time_out_inside_the_work_is_not_the_deadline(keys: tuple[Running, KeyServiceAsyncStub]) -> None:
    running, stub = keys

    async def times_out(_request: object) -> Any:
        raise TimeoutError

    running.scripted.handlers["GetJwks"] = times_out
    assert (await refusal(stub.GetJwks(ASK))).reason == "INTERNAL"


async def test_a_caller_that_goes_away_takes_its_work_along(keys: tuple[Running, KeyServiceAsyncStub]) -> None:
    running, stub = keys
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def forever(_request: object) -> Any:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    running.scripted.handlers["GetJwks"] = forever
    call = stub.GetJwks(ASK)
    await asyncio.wait_for(begun.wait(), 2)
    call.cancel()
    await asyncio.wait_for(cancelled.wait(), 2)


async def test_a_call_made_inside_another_has_what_that_one_has_left_less_the_shave(
    serve: Serve, channels: Open
) -> None:
    async with serve(add_KeyServiceServicer_to_server) as running, channels("booking", auth=[running.port]) as ours:
        seen = seconds_left(running)
        stub = ours.stub(KeyServiceStub, "auth")
        with context.background("test", tenant_id="", seconds=0.8):
            await stub.GetJwks(ASK)
        with context.background("test", tenant_id="", seconds=60):
            await stub.GetJwks(ASK)
        await stub.GetJwks(ASK)
        with context.background("test", tenant_id="", seconds=0.01), pytest.raises(DeadlineExceeded):
            await stub.GetJwks(ASK)
        with context.background("test", tenant_id="", seconds=0.1), pytest.raises(RemoteError) as caught:
            await stub.GetJwks(ASK)
    assert 0.6 < seen[0] < 0.78
    assert seen[1:] == [pytest.approx(POLICY_SECONDS, abs=0.1)] * 2
    assert caught.value.reason == "DEADLINE_TOO_SHORT"
