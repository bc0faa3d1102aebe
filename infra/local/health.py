"""Whether a part serves: each check answers why not, in a few words, or None."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infra.local import pki

_SECONDS = 2.0


async def http(url: str, path: str) -> str | None:
    """Whether a GET answers 200; a few lines of HTTP, so that the supervisor stays small."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).decode(errors="replace").split(" ", 1)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    return None if status[-1].startswith("200") else f"answers {status[-1].strip() or 'nothing'}"


async def tcp(address: str) -> str | None:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    return None


class ServiceProbe:
    """Asks one service process for its health over mTLS, as the operator; keeps its connection between questions."""

    def __init__(self, address: str, service: str, tls: Path) -> None:
        self._address, self._service, self._tls = address, service, tls
        self._stub: health_pb2_grpc.HealthStub | None = None

    async def refusal(self) -> str | None:
        """Why the service does not serve; None when it does."""
        try:
            answer = await self._connected().Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            told = (error.details() or "no details").splitlines()[0]
            return "does not listen yet" if "failed to connect" in told else f"{error.code().name}: {told[:120]}"
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return None
        return f"says {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"

    def _connected(self) -> health_pb2_grpc.HealthStub:
        if self._stub is None:
            own = pki.pair(self._tls, pki.OPERATOR)
            credentials = grpc.ssl_channel_credentials(
                pki.pair(self._tls, pki.CA).certificate.read_bytes(), own.key.read_bytes(), own.certificate.read_bytes()
            )
            options = [
                ("grpc.ssl_target_name_override", self._service),
                # A service that was down is asked again at once, not after gRPC's own growing pauses.
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
            ]
            self._stub = health_pb2_grpc.HealthStub(grpc.aio.secure_channel(self._address, credentials, options))
        return self._stub
