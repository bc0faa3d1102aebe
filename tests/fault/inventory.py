"""Owns a stand-in for inventory that answers every call UNAVAILABLE, over the mesh's mutual TLS, and counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from infra.local import pki
from tests.mesh import Mesh

RETRIED = "grpc-previous-rpc-attempts"  # gRPC's own mark on what it sends again


class Calls:
    """What came in: first attempts and repetitions, by method."""

    def __init__(self) -> None:
        self.first: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()

    @property
    def attempts_each(self) -> float:
        """Attempts a request, over all methods."""
        requests = self.first.total()
        return (requests + self.repeated.total()) / requests if requests else 0.0


class _Unavailable(grpc.GenericRpcHandler):
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method
        sent = {name for name, _ in handler_call_details.invocation_metadata}
        (self._calls.repeated if RETRIED in sent else self._calls.first)[method] += 1

        async def refuse(_: bytes, context: Any) -> bytes:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "out by order")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(refuse)


@asynccontextmanager
async def unavailable_inventory(mesh: Mesh) -> AsyncIterator[Calls]:
    """In inventory's place, which must be stopped, for the length of a block: healthy, and of no use."""
    calls, server = Calls(), grpc.aio.server()
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    server.add_generic_rpc_handlers((_Unavailable(calls),))
    own, ca = pki.pair(mesh.tls, "inventory"), pki.pair(mesh.tls, pki.CA)
    credentials = grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.certificate.read_bytes())], ca.certificate.read_bytes(), require_client_auth=True
    )
    server.add_secure_port(mesh.endpoint("inventory"), credentials)
    await server.start()
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield calls
    finally:
        await server.stop(0)
