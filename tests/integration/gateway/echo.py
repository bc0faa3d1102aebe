"""Services that answer by script and remember what reached them: what stands behind the gateway in its tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gateway.contract import Contract, Method
from infra.local import pki

# How Envoy calls itself when it fetches the keys that tokens are signed with.
KEY_FETCHER = "Go-browser"
# An answer aborts, or is a message.
Answer = Callable[[Any, grpc.ServicerContext], Message | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """One call as the service saw it."""

    method: str
    metadata: dict[str, str | bytes]
    seconds_left: float
    request: Any


@dataclass(slots=True)
class Script:
    """What the services answer, and what they have seen; tests change and read it."""

    contract: Contract
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    """Every call but the gateway's own, which come when they will: it fetches auth's keys anew from time to time."""
    key_fetches: int = 0

    def message(self, full_name: str, **values: object) -> Any:
        """A message of the contract's."""
        return self.contract.message_class(full_name)(**values)

    def answer(self, method: Method, request: Any, context: grpc.ServicerContext) -> Message | None:
        """Answers by the script, or with the empty answer of the method."""
        metadata = dict(context.invocation_metadata())
        if metadata.get("user-agent") == KEY_FETCHER:
            self.key_fetches += 1
        else:
            self.seen.append(Seen(method.path, metadata, context.time_remaining(), request))
        if method.path in self.answers:
            return self.answers[method.path](request, context)
        empty: Message = self.contract.message_class(method.descriptor.output_type.full_name)()
        return empty


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, script: Script, owner: str) -> None:
        self._handlers = {
            method.path: _handler(script, method) for method in script.contract.methods if method.owner == owner
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


def _handler(script: Script, method: Method) -> grpc.RpcMethodHandler[Any, Any]:
    read = script.contract.message_class(method.descriptor.input_type.full_name).FromString
    return grpc.unary_unary_rpc_method_handler(
        lambda request, context: script.answer(method, request, context),
        request_deserializer=read,
        response_serializer=lambda message: message.SerializeToString() if message is not None else b"",
    )


class Health(health.HealthServicer):  # type: ignore[misc]  # grpcio-health-checking has no types
    """Says how the service is, but for while it is silent."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = threading.Event()

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        """Answers, or keeps its caller waiting until it gives up."""
        while self.silent.is_set() and context.is_active():
            time.sleep(0.05)
        return super().Check(request, context)


class EchoService:
    """One service of the mesh, on a port of its own, that takes only callers with a certificate."""

    def __init__(self, name: str, script: Script, tls_dir: Path, *, certified_as: str = "") -> None:
        self.name = name
        self.health = Health()
        self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4), handlers=[_Handlers(script, name)])
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        own, ca = pki.pair(tls_dir, certified_as or name), pki.pair(tls_dir, pki.CA)
        credentials = grpc.ssl_server_credentials(
            [(own.key.read_bytes(), own.certificate.read_bytes())],
            root_certificates=ca.certificate.read_bytes(),
            require_client_auth=True,
        )
        self.port = self._server.add_secure_port("127.0.0.1:0", credentials)

    def __enter__(self) -> EchoService:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=0).wait()
