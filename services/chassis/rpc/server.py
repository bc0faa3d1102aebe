"""A gRPC server: mutual TLS, every method through the interceptors, health, reflection, and a stop nobody notices."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from grpc_interceptor.server import AsyncServerInterceptor

from services.chassis.config import ServiceConfig
from services.chassis.errors import MethodUnknown
from services.chassis.rpc import reflection
from services.chassis.rpc.chain import compose
from services.chassis.rpc.context import Call, enter
from services.chassis.rpc.health import Health
from services.chassis.rpc.method import Method, Proceed, Wiring
from services.chassis.rpc.policy import TOGETHER, Policy, policy_of, reasons_of, require_policies
from services.chassis.rpc.together import Arrivals, Seat
from services.chassis.telemetry.correlation import request_id

MAX_REQUEST_BYTES = 1 << 20
MAX_RESPONSE_BYTES = 4 << 20
# All that the gateway lets through (32 KiB, and 32 bytes more for each of 100 headers): gRPC's own refusal is not ours.
MAX_METADATA_BYTES = 40 << 10
CONNECTION_AGE_MS = 30_000  # connections are made anew, so that load finds new workers
CONNECTION_AGE_GRACE_MS = 20_000  # longer than the longest deadline
STOP_GRACE_SECONDS = 20.0

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # two processes on one port get no balance: a second one shall fail
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
    ("grpc.max_connection_age_grace_ms", CONNECTION_AGE_GRACE_MS),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

Registration = tuple[Callable[[Any, Any], None], object]
_Handler = Callable[[Any, Any], Any]

logger = logging.getLogger(__name__)


class PortTaken(Exception):
    """The address to listen on is not to be had."""


class Server:
    """One process's listener."""

    def __init__(
        self, config: ServiceConfig, registrations: Sequence[Registration], wiring: Wiring, health: Health
    ) -> None:
        self._config = config
        self._state = wiring.state
        self._health = health
        methods = _Methods()
        for add, servicer in registrations:
            add(servicer, methods)
        names = tuple(methods.services)
        health.register(names, methods)
        reflection.register((*names, "grpc.health.v1.Health"), methods)
        require_policies(list(methods.handlers))
        chains = _Chains(methods.handlers, wiring)
        methods.handlers[TOGETHER] = chains.arrivals
        self._server = grpc.aio.server(interceptors=(chains,), handlers=(methods.dispatcher(),), options=OPTIONS)
        credentials = grpc.ssl_server_credentials(
            [(config.tls_key.read_bytes(), config.tls_cert.read_bytes())],
            root_certificates=config.tls_ca.read_bytes(),
            require_client_auth=True,
        )
        try:
            self.port = self._server.add_secure_port(str(config.listen), credentials)
        except RuntimeError as error:
            raise PortTaken(f"BERTH_LISTEN={config.listen} cannot be listened on; is another process there?") from error

    async def start(self) -> None:
        """Begin to serve."""
        await self._health.begin()
        await self._server.start()

    async def drain(self) -> None:
        """Say that we stop, wait until balancers have heard it, then finish what runs and stop."""
        await self._health.leave()
        await asyncio.sleep(self._config.drain_seconds)
        await self.stop(STOP_GRACE_SECONDS)

    async def stop(self, grace: float) -> None:
        """Take no more calls, and give those that run this long to end."""
        self._state.draining = True
        await self._server.stop(grace)


class _Methods:
    """Stands in for a server where servicers register, and collects their methods."""

    def __init__(self) -> None:
        self.services: list[str] = []
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: object) -> None:
        """The same methods again, in the form of older runtimes."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        if not service_name.startswith("grpc."):
            self.services.append(service_name)
        self.handlers |= {f"/{service_name}/{name}": handler for name, handler in method_handlers.items()}

    def dispatcher(self) -> grpc.GenericRpcHandler:
        return _Dispatcher({name: _raw(name, handler) for name, handler in self.handlers.items()})


class _Dispatcher(grpc.GenericRpcHandler):
    """Finds a call's handler; a method that there is none for has one that says so in our words."""

    def __init__(self, handlers: Mapping[str, Any]) -> None:
        self._handlers = handlers
        # The interceptor answers in its place; gRPC only asks for one so that it does not answer by itself.
        self._unknown: Any = grpc.unary_unary_rpc_method_handler(_never)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method, self._unknown)


async def _never(_request: object, _context: object) -> None:
    raise AssertionError("the interceptor refuses unknown methods")


def _is_built_in(name: str) -> bool:
    return policy_of(name).built_in


def _raw(name: str, handler: Any) -> Any:
    """The handler without gRPC's own reading and writing of messages, which would answer bad ones by itself."""
    if _is_built_in(name):
        return handler
    if handler.request_streaming:
        raise TypeError(f"{name} takes a stream of requests, which the interceptors do not serve.")
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(handler.unary_stream)
    return grpc.unary_unary_rpc_method_handler(handler.unary_unary)


class _Chains(AsyncServerInterceptor):
    """The one interceptor that gRPC sees: it runs our list, composed once for each method."""

    def __init__(self, handlers: Mapping[str, Any], wiring: Wiring) -> None:
        self._ways = {name: _way(name, handler, wiring) for name, handler in handlers.items()}
        unknown = Method(Policy("unknown", "public", None, built_in=True), reasons_of("berth.type.v1"))
        self._unknown = compose(unknown, wiring, _unknown)
        self._wrapped: dict[str, Any] = {}
        self._travelling = frozenset(name for name in handlers if policy_of(name).travels)
        self.arrivals: Any = grpc.unary_stream_rpc_method_handler(Arrivals(self._arrived).travel)
        self._ways[TOGETHER] = _way(TOGETHER, self.arrivals, wiring)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """What the package does, once a method instead of once a call: its wrapping depends on nothing else."""
        name = handler_call_details.method
        wrapped = self._wrapped.get(name)
        if wrapped is None:
            wrap: Any = super().intercept_service
            wrapped = await wrap(continuation, handler_call_details)
            if name in self._ways:  # strangers' names are not kept
                self._wrapped[name] = wrapped
        return wrapped

    async def intercept(
        self,
        method: object,  # noqa: ARG002 - the signature is the package's; our ways end in the handlers themselves
        request_or_iterator: Any,
        context: Any,
        method_name: str,
    ) -> Any:
        metadata = dict(context.invocation_metadata())
        return await self._pass(
            self._ways.get(method_name, self._unknown), method_name, metadata, request_or_iterator, context
        )

    async def _arrived(self, name: str, metadata: Mapping[str, str], request: bytes, seat: Seat) -> bytes:
        """A call that travelled with others, on the way that it would go by itself."""
        way = self._ways[name] if name in self._travelling else self._unknown
        answer: bytes = await self._pass(way, name, metadata, request, seat)
        return answer

    async def _pass(self, way: Proceed, name: str, metadata: Mapping[str, str], request: Any, wire: Any) -> Any:
        call = Call(
            method=name,
            request_id=request_id(metadata.get("x-request-id", "")),
            metadata=metadata,
            request=request,
            wire=wire,
        )
        enter(call)
        return await way(call)


async def _unknown(_call: Call) -> None:
    raise MethodUnknown


def _way(name: str, handler: Any, wiring: Wiring) -> Proceed:
    policy = policy_of(name)
    package = name[1:].rpartition("/")[0].rpartition(".")[0]
    if policy.built_in:
        method = Method(policy, reasons_of(package))
        served = handler.unary_unary or handler.unary_stream or handler.stream_stream
        return compose(method, wiring, _streaming(served) if handler.response_streaming else _plain(served))
    method = Method(policy, reasons_of(package), request_type=_message_of(handler.request_deserializer))
    if handler.response_streaming:
        return compose(method, wiring, _streaming(handler.unary_stream, handler.response_serializer))
    return compose(method, wiring, _unary(handler.unary_unary, handler.response_serializer, policy.http_success))


def _message_of(deserializer: Any) -> Any:
    """The message class whose FromString the stub gave."""
    return deserializer.__self__


def _plain(handler: _Handler) -> Proceed:
    async def serve(call: Call) -> Any:
        return await handler(call.request, call.wire)

    return serve


def _unary(handler: _Handler, serialize: Callable[[Any], bytes], http_success: int) -> Proceed:
    async def serve(call: Call) -> bytes:
        answer = await handler(call.request, call.wire)
        if call.peer == "gateway" and (http_success != 200 or call.location):
            headers = [("berth-http-status", str(http_success))]
            if call.location:
                headers.append(("location", call.location))
            await call.wire.send_initial_metadata(tuple(headers))
        return serialize(answer)

    return serve


def _streaming(handler: _Handler, serialize: Callable[[Any], Any] | None = None) -> Proceed:
    async def serve(call: Call) -> None:
        answers = handler(call.request, call.wire)
        if inspect.isawaitable(answers):  # it writes by itself
            await answers
            return
        # Closed with the call: what it has begun for its answers must not outlive them.
        async with aclosing(answers):
            async for answer in answers:
                await call.wire.write(answer if serialize is None else serialize(answer))

    return serve
