"""A server with the real interceptors and certificates, answering real contracts with what each test scripts."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from berth.auth.v1 import tenant_service_pb2 as auth
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.rpc import error_details_pb2, status_pb2
from prometheus_client import CollectorRegistry

from infra.local import pki
from infra.local.topology import read
from services.chassis.clock import SystemClock
from services.chassis.config import Address, Peers, ServiceConfig
from services.chassis.errors import TenantUnknown
from services.chassis.ids import new_id
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.health import Health
from services.chassis.rpc.method import MAX_CONCURRENT_CALLS, ServerState, Wiring
from services.chassis.rpc.server import Registration, Server
from services.chassis.telemetry.metrics import RpcMetrics
from services.chassis.tokens.keys import Jwk, KeySet
from services.chassis.tokens.verify import TokenVerifier

NAMES = (*read().services, "gateway", "operator")
NOW = dt.datetime.now(dt.UTC)
TENANT = new_id("ten", at=NOW)
OTHER_TENANT = new_id("ten", at=NOW)
USER = new_id("usr", at=NOW)

Handler = Callable[[Any], Awaitable[Any]]


class Keys:
    """One signing key, and the key set that it is published in."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()

    async def fetch(self) -> Sequence[Jwk]:
        described = jwt.algorithms.OKPAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        return [{**described, "kid": "one", "use": "sig", "alg": "EdDSA"}]

    def token(self, *permissions: str, tenant_id: str = TENANT, seconds: int = 300) -> str:
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims = {
            "iss": "berth",
            "aud": "berth",
            "sub": USER,
            "ten": tenant_id,
            "sid": "ses_1",
            "scope": " ".join(permissions),
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(claims, self.private, algorithm="EdDSA", headers={"kid": "one"})


class Tenants:
    """A directory of two."""

    async def find(self, slug: str) -> str:
        try:
            return {"demo": TENANT, "other": OTHER_TENANT}[slug]
        except KeyError:
            raise TenantUnknown from None


@dataclass
class Scripted:
    """Stands behind every servicer: each method does what its test says, and calls are kept."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        async def method(request: Any, _context: object) -> Any:
            self.requests.append(request)
            return await self.handlers[name](request)

        return method


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    server: Server
    config: ServiceConfig
    scripted: Scripted
    state: ServerState
    keys: Keys
    health: Health

    @property
    def port(self) -> int:
        return self.server.port


Serve = Callable[..., AbstractAsyncContextManager[Running]]
Dial = Callable[[Running, str], AbstractAsyncContextManager[grpc.aio.Channel]]
Open = Callable[..., AbstractAsyncContextManager[Channels]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    pki.ensure(directory, NAMES, NOW)
    return directory


@pytest.fixture
def config(certificates: Path) -> Callable[..., ServiceConfig]:
    def build(name: str, **changes: Any) -> ServiceConfig:
        mine = pki.pair(certificates, name)
        described = ServiceConfig(
            environment="local",
            listen=Address("127.0.0.1", 0),
            database_url="unused",
            worker_database_url="unused",
            tls_ca=pki.pair(certificates, "ca").certificate,
            tls_cert=mine.certificate,
            tls_key=mine.key,
            drain_seconds=0.2,
        )
        return replace(described, **changes)

    return build


async def healthy() -> bool:
    return True


@pytest.fixture
def serve(config: Callable[..., ServiceConfig]) -> Serve:
    @asynccontextmanager
    async def running(
        *adders: Callable[[Any, Any], None] | Registration,
        name: str = "auth",
        most: int = MAX_CONCURRENT_CALLS,
        check: Callable[[], Awaitable[bool]] = healthy,
        **changes: Any,
    ) -> AsyncIterator[Running]:
        scripted, keys, state = Scripted(), Keys(), ServerState()
        mine = config(name, **changes)
        wiring = Wiring(
            verifier=TokenVerifier(KeySet(keys), SystemClock()),
            tenants=Tenants(),
            metrics=RpcMetrics(CollectorRegistry()),
            state=state,
            max_concurrent_calls=most,
            strict=True,
        )
        registrations = [adder if isinstance(adder, tuple) else (adder, scripted) for adder in adders]
        health = Health(check, interval=0.05)
        server = Server(mine, registrations, wiring, health)
        await server.start()
        try:
            yield Running(server, mine, scripted, state, keys, health)
        finally:
            await server.stop(0)

    return running


@pytest.fixture
def dial(config: Callable[..., ServiceConfig]) -> Dial:
    """A plain channel with one of the mesh's certificates: a caller without our own client code."""

    @asynccontextmanager
    async def dialled(running: Running, peer: str) -> AsyncIterator[grpc.aio.Channel]:
        mine = config(peer)
        credentials = grpc.ssl_channel_credentials(
            mine.tls_ca.read_bytes(), mine.tls_key.read_bytes(), mine.tls_cert.read_bytes()
        )
        channel = grpc.aio.secure_channel(
            f"127.0.0.1:{running.port}",
            credentials,
            options=(("grpc.ssl_target_name_override", running.config.tls_cert.stem), ("grpc.enable_retries", 0)),
        )
        async with channel:
            yield channel

    return dialled


@pytest.fixture
def channels(config: Callable[..., ServiceConfig]) -> Open:
    """Our own client side, as the service `name`, with the peers given."""

    @asynccontextmanager
    async def opened(name: str, **ports: Sequence[int]) -> AsyncIterator[Channels]:
        peers = {peer: tuple(Address("127.0.0.1", port) for port in found) for peer, found in ports.items()}
        ours = Channels(config(name, peers=Peers(peers)))
        try:
            yield ours
        finally:
            await ours.close()

    return opened


@dataclass(frozen=True)
class Refused:
    """What a refused call said."""

    code: grpc.StatusCode
    message: str
    infos: list[error_details_pb2.ErrorInfo]
    violations: list[error_details_pb2.BadRequest.FieldViolation]
    retry_seconds: float | None
    request_id: str
    trailers: dict[str, str | bytes]

    @property
    def reason(self) -> str:
        return self.infos[0].reason if self.infos else ""


def refused(error: grpc.aio.AioRpcError) -> Refused:
    trailers = dict(error.trailing_metadata() or ())
    raw = trailers.get("grpc-status-details-bin", b"")
    assert isinstance(raw, bytes)
    status = status_pb2.Status.FromString(raw)
    infos, violations, retry_seconds, request_id = [], [], None, ""
    for detail in status.details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry, named = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
        if detail.Unpack(info):
            infos.append(info)
        elif detail.Unpack(bad):
            violations = list(bad.field_violations)
        elif detail.Unpack(retry):
            retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()
        elif detail.Unpack(named):
            request_id = named.request_id
    return Refused(error.code(), error.details() or "", infos, violations, retry_seconds, request_id, trailers)


async def refusal(call: Awaitable[Any]) -> Refused:
    """What the call was refused with; fails when it was answered."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refused(caught.value)


def tenant(**fields: Any) -> auth.Tenant:
    return auth.Tenant(tenant_id=TENANT, slug="demo", **fields)
