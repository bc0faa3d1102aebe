"""How a server starts, tells its health and contracts, sheds load, and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from berth.auth.v1 import tenant_service_pb2
from berth.auth.v1.tenant_service_pb2_grpc import KeyServiceStub, add_KeyServiceServicer_to_server
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.chassis.rpc.policy import PolicyMissing
from services.chassis.rpc.server import PortTaken
from tests.integration.rpc.serving import Dial, Serve, refusal

ASK = tenant_service_pb2.GetJwksRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_method_without_a_policy_keeps_the_server_from_starting(serve: Serve) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="nopolicy.proto", package="berth.nopolicy.v1", syntax="proto3")
    file.message_type.add(name="Nothing")
    method = file.service.add(name="BareService").method.add(name="Bare")
    method.input_type = method.output_type = ".berth.nopolicy.v1.Nothing"
    descriptor_pool.Default().Add(file)
    nothing = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("berth.nopolicy.v1.Nothing"))

    def add(_servicer: object, server: Any) -> None:
        async def bare(_request: object, _context: object) -> object:
            return nothing()

        handler = grpc.unary_unary_rpc_method_handler(bare, nothing.FromString, nothing.SerializeToString)
        server.add_registered_method_handlers("berth.nopolicy.v1.BareService", {"Bare": handler})

    with pytest.raises(PolicyMissing, match=r"/berth\.nopolicy\.v1\.BareService/Bare"):
        async with serve(add):
            pass


async def test_health_is_for_every_peer_and_follows_the_database(serve: Serve, dial: Dial) -> None:
    answers = True

    async def check() -> bool:
        return answers

    async with serve(add_KeyServiceServicer_to_server, check=check) as running:
        stop = asyncio.Event()
        watching = asyncio.create_task(running.health.watch(stop))
        for peer in ("gateway", "operator", "booking"):
            async with dial(running, peer) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                for name in ("", "berth.auth.v1.KeyService"):
                    assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        async with dial(running, "gateway") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            answers = False
            assert (await asyncio.wait_for(watch.read(), 2)).status == NOT_SERVING
            answers = True
            assert (await asyncio.wait_for(watch.read(), 2)).status == SERVING
            watch.cancel()
        stop.set()
        await watching


async def test_a_server_without_its_database_starts_and_says_so(serve: Serve, dial: Dial) -> None:
    async def check() -> bool:
        return False

    async with serve(add_KeyServiceServicer_to_server, check=check) as running, dial(running, "gateway") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == NOT_SERVING


@pytest.mark.parametrize(("peer", "reads"), [("operator", True), ("gateway", False), ("booking", False)])
async def test_contracts_are_read_by_operators_only(serve: Serve, dial: Dial, peer: str, reads: bool) -> None:
    async with serve(add_KeyServiceServicer_to_server) as running, dial(running, peer) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        if reads:
            names = {found.name async for answer in call for found in answer.list_services_response.service}
            assert {"berth.auth.v1.KeyService", "grpc.health.v1.Health"} <= names
        else:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("symbol", "found"),
    [
        ("berth.auth.v1.KeyService", True),
        ("berth.auth.v1.KeyService.GetJwks", True),
        ("berth.auth.v1.Jwk", True),
        ("berth.auth.v1.KeyService.Nothing.AtAll", False),
        ("Nothing", False),
        ("", False),
    ],
)
async def test_a_symbol_is_found_by_its_name(serve: Serve, dial: Dial, symbol: str, found: bool) -> None:
    async with serve(add_KeyServiceServicer_to_server) as running, dial(running, "operator") as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        (answer,) = [answer async for answer in stub.ServerReflectionInfo(iter([request]))]
    assert answer.HasField("file_descriptor_response") == found


class Gate:
    """A handler that holds its calls until told."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self._inside = asyncio.Semaphore(0)

    async def __call__(self, _request: object) -> Any:
        self._inside.release()
        await self.open.wait()
        return tenant_service_pb2.Jwks()

    async def takes(self, calls: int) -> None:
        async with asyncio.timeout(2):
            for _ in range(calls):
                await self._inside.acquire()


async def test_more_calls_than_the_limit_are_shed_at_once(serve: Serve, dial: Dial) -> None:
    async with serve(add_KeyServiceServicer_to_server, most=3) as running, dial(running, "inventory") as channel:
        gate = running.scripted.handlers["GetJwks"] = Gate()
        stub = KeyServiceStub(channel)
        held = [asyncio.create_task(_awaited(stub.GetJwks(ASK))) for _ in range(3)]
        await gate.takes(3)
        seen = await refusal(stub.GetJwks(ASK))
        assert (seen.code, seen.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert seen.retry_seconds == 1
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == SERVING
        gate.open.set()
        await asyncio.gather(*held)
        await stub.GetJwks(ASK)
        assert running.state.calls == 0


async def _awaited(call: Any) -> Any:
    return await call


async def test_draining_finishes_what_runs_and_refuses_the_rest(serve: Serve, dial: Dial) -> None:
    async with serve(add_KeyServiceServicer_to_server) as running, dial(running, "inventory") as channel:
        gate = running.scripted.handlers["GetJwks"] = Gate()
        stub = KeyServiceStub(channel)
        running_call = asyncio.create_task(_awaited(stub.GetJwks(ASK)))
        await gate.takes(1)
        draining = asyncio.create_task(running.server.drain())
        await asyncio.sleep(0.05)
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == NOT_SERVING
        also_served = asyncio.create_task(_awaited(stub.GetJwks(ASK)))  # balancers have not noticed yet
        await gate.takes(1)
        await asyncio.sleep(0.25)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetJwks(ASK, timeout=1)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not draining.done()
        gate.open.set()
        await asyncio.gather(running_call, also_served, draining)


async def test_two_processes_cannot_share_a_port(serve: Serve, config: Callable[..., Any]) -> None:
    async with serve(add_KeyServiceServicer_to_server) as running:
        taken = type(running.config.listen)("127.0.0.1", running.port)
        with pytest.raises(PortTaken, match="BERTH_LISTEN"):
            async with serve(add_KeyServiceServicer_to_server, listen=taken):
                pass
