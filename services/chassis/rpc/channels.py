"""Calls to other services: mutual TLS, the time and the identity of the call being served, retries by the contract."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import grpc

from services.chassis.config import Address, ConfigError, ServiceConfig
from services.chassis.errors import DeadlineExceeded
from services.chassis.rpc import context
from services.chassis.rpc.errors import remote_error
from services.chassis.rpc.policy import policy_of
from services.chassis.rpc.service_config import methods_of, service_config
from services.chassis.rpc.together import Departures
from services.chassis.telemetry.correlation import new_request_id, new_traceparent

SHAVE_SECONDS = 0.020  # kept back from an inherited deadline, so that our caller hears from us why
MAX_MESSAGE_BYTES = 4 << 20
CLOSE_GRACE_SECONDS = 1.0

S = TypeVar("S")
Metadata = Sequence[tuple[str, str]]

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # The name deceives: it is the time that connecting may take, and a busy machine needs more than 0.1 s for it.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Nobody but the contract says how calls are retried and balanced.
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
)


class Channels:
    """One channel to each service that the configuration names, opened by its first stub."""

    def __init__(self, config: ServiceConfig) -> None:
        self._peers = config.peers.endpoints
        self._credentials = grpc.ssl_channel_credentials(
            config.tls_ca.read_bytes(), config.tls_key.read_bytes(), config.tls_cert.read_bytes()
        )
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._departures: dict[str, Departures] = {}
        self._stubs: dict[tuple[object, str, bool], Any] = {}

    def stub(self, stub: Callable[[grpc.aio.Channel], S], service: str, *, own_identity: bool = False) -> S:
        """A stub for calls to `service`. They carry the current call's remaining time, request id, trace and identity.

        A call made for a user passes the user's token on; other work acts as this service, in the current tenant and
        for the stored actor. With `own_identity` the call is this service's own, whomever it serves. Failed calls raise
        RemoteError. An idempotency key is sent as `metadata=(("idempotency-key", key),)`.
        """
        known = self._stubs.get((stub, service, own_identity))
        if known is None:
            channel = self._channel(service)
            carrier = _Carrier(channel, self._departures[service], own_identity=own_identity)
            # Stubs only build their methods from it, and these take what real ones take.
            known = self._stubs[stub, service, own_identity] = stub(cast("grpc.aio.Channel", carrier))
        return cast("S", known)

    async def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            await channel.close(CLOSE_GRACE_SECONDS)

    def _channel(self, service: str) -> grpc.aio.Channel:
        channel = self._channels.get(service)
        if channel is None:
            if service not in self._peers:
                raise ConfigError(f"BERTH_PEERS does not say where {service} is found.")
            channel = self._channels[service] = grpc.aio.secure_channel(
                target(self._peers[service]),
                self._credentials,
                options=(
                    *OPTIONS,
                    # Certificates name services, not addresses.
                    ("grpc.ssl_target_name_override", service),
                    ("grpc.default_authority", service),
                    ("grpc.service_config", service_config(methods_of(service))),
                ),
            )
            self._departures[service] = Departures(channel)
        return channel


def target(addresses: Sequence[Address]) -> str:
    """The channel's target: all addresses at once, so that round robin sees them."""
    if all(_is_ipv4(address.host) for address in addresses):
        return f"ipv4:{','.join(map(str, addresses))}"
    if len(addresses) == 1:
        return f"dns:///{addresses[0]}"
    raise ConfigError("BERTH_PEERS: several endpoints of a service must be IPv4 addresses; a name stands alone.")


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


class _Carrier:
    """What a stub takes for its channel: it wraps each method once instead of intercepting each call."""

    def __init__(self, channel: grpc.aio.Channel, departures: Departures, *, own_identity: bool) -> None:
        self._channel = channel
        self._departures = departures
        self._own_identity = own_identity

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        call = self._channel.unary_unary(method, *args, **kwargs)
        limit, own_identity = _limit(method), self._own_identity
        departures, travels = self._departures, policy_of(method).travels
        serialize, deserialize = kwargs["request_serializer"], kwargs["response_deserializer"]

        async def carry(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Any:  # noqa: ASYNC109 - the stub's own signature
            seconds, sent = _outgoing(limit, timeout, metadata, own_identity=own_identity)
            try:
                if travels and seconds is not None:
                    ends_at = time.monotonic() + seconds
                    answer = await departures.ask(method, serialize(request), seconds, sent)
                    if answer is not None:
                        return deserialize(answer)
                    seconds = max(0.0, ends_at - time.monotonic())
                return await call(request, timeout=seconds, metadata=sent)
            except grpc.aio.AioRpcError as error:
                if travels and error.code() is grpc.StatusCode.UNAVAILABLE:
                    departures.pause()
                raise remote_error(error, method) from error

        return carry

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        call = self._channel.unary_stream(method, *args, **kwargs)
        limit, own_identity = _limit(method), self._own_identity

        async def carry(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:  # noqa: ASYNC109 - the stub's own signature
            seconds, sent = _outgoing(limit, timeout, metadata, own_identity=own_identity)
            try:
                async for answer in call(request, timeout=seconds, metadata=sent):
                    yield answer
            except grpc.aio.AioRpcError as error:
                raise remote_error(error, method) from error

        return carry


def _limit(method: str) -> float | None:
    return policy_of(method).deadline


def _outgoing(
    limit: float | None, timeout: float | None, extra: Metadata, *, own_identity: bool
) -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """The time a call may take and the metadata it carries."""
    limits = [limit, timeout]
    call = context.current_or_none()
    if call is None:
        metadata = [("x-request-id", new_request_id()), ("traceparent", new_traceparent())]
    else:
        left = call.remaining() - SHAVE_SECONDS
        if left <= 0:
            raise DeadlineExceeded
        if left != float("inf"):
            limits.append(left)
        metadata = [("x-request-id", call.request_id), ("traceparent", call.traceparent)]
        if not own_identity:
            metadata += _identity(call)
    return min((seconds for seconds in limits if seconds is not None), default=None), (*metadata, *extra)


def _identity(call: context.Call) -> Iterable[tuple[str, str]]:
    if call.token:
        yield "authorization", f"Bearer {call.token}"
        return
    if call.tenant_id:
        yield "berth-tenant", call.tenant_id
    if call.principal.on_behalf_of:
        yield "berth-on-behalf-of", call.principal.on_behalf_of
