"""Inventory as a process of its own, beside an auth that each test scripts."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from berth.auth.v1 import tenant_service_pb2 as auth
from berth.auth.v1.tenant_service_pb2_grpc import (
    add_DirectoryServiceServicer_to_server,
    add_KeyServiceServicer_to_server,
)

from infra.local import pki
from services.chassis.errors import DependencyUnavailable, TenantUnknown
from tests.databases import NewDatabase, Urls, free_port
from tests.integration.rpc.serving import TENANT, Running, Serve

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 20.0

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Directory:
    """What auth's DirectoryService was told; it can be out."""

    out: bool = False
    grants: list[tuple[str, str]] = field(default_factory=list)
    tries: int = 0

    async def grant(self, request: auth.GrantVendorRequest) -> auth.GrantVendorResponse:
        """Remember who owns what."""
        self.tries += 1
        if self.out:
            raise DependencyUnavailable
        self.grants.append((request.user_id, request.vendor_id))
        return auth.GrantVendorResponse()


@dataclass
class Inventory:
    """The process, and what stands around it."""

    urls: Urls
    tls: Path
    auth: Running
    directory: Directory
    log: Path
    port: int
    process: asyncio.subprocess.Process

    @asynccontextmanager
    async def dial(self, peer: str) -> AsyncIterator[grpc.aio.Channel]:
        """A plain channel with one of the mesh's certificates."""
        mine, ours = pki.pair(self.tls, peer), pki.pair(self.tls, "ca")
        credentials = grpc.ssl_channel_credentials(
            ours.certificate.read_bytes(), mine.key.read_bytes(), mine.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", "inventory"), ("grpc.enable_retries", 0))
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options) as channel:
            yield channel

    def token(self, user_id: str, *permissions: str, vendors: tuple[str, ...] = (), key: str = "") -> Metadata:
        """The metadata of a signed-in person's call."""
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, Any] = {"iss": "berth", "aud": "berth", "sub": user_id, "ten": TENANT, "sid": "ses_1"}
        claims |= {"scope": " ".join(permissions), "vnd": list(vendors), "iat": now, "exp": now + 300}
        signed = jwt.encode(claims, self.auth.keys.private, algorithm="EdDSA", headers={"kid": "one"})
        sent: Metadata = (("authorization", f"Bearer {signed}"),)
        return (*sent, ("idempotency-key", key)) if key else sent


Run = Callable[..., Any]


def environment(urls: Urls, tls: Path, auth_port: int, port: int) -> dict[str, str]:
    """All that inventory is told."""
    mine = pki.pair(tls, "inventory")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": f"127.0.0.1:{port}",
        "BERTH_DATABASE_URL": urls.app,
        "BERTH_WORKER_DATABASE_URL": urls.worker,
        "BERTH_OWNER_DATABASE_URL": urls.owner,
        "BERTH_TLS_CA": str(pki.pair(tls, "ca").certificate),
        "BERTH_TLS_CERT": str(mine.certificate),
        "BERTH_TLS_KEY": str(mine.key),
        "BERTH_PEERS": f"auth=127.0.0.1:{auth_port}",
        "BERTH_DRAIN_SECONDS": "0.2",
        "BERTH_SWEEP_SECONDS": "0.1",
    }


@pytest.fixture
async def inventory(
    new_database: NewDatabase, certificates: Path, serve: Serve, tmp_path: Path
) -> AsyncIterator[Inventory]:
    """Inventory, serving."""
    urls, port, directory = new_database("inventory"), free_port(), Directory()
    log = tmp_path / "log"
    async with serve(add_KeyServiceServicer_to_server, add_DirectoryServiceServicer_to_server) as beside:

        async def keys(_request: Any) -> auth.Jwks:
            return auth.Jwks(keys=[auth.Jwk(**dict(key)) for key in await beside.keys.fetch()])

        async def resolve(request: auth.ResolveTenantRequest) -> auth.Tenant:
            if request.slug != "demo":
                raise TenantUnknown
            return auth.Tenant(tenant_id=TENANT, slug="demo")

        beside.scripted.handlers |= {"GetJwks": keys, "ResolveTenant": resolve, "GrantVendor": directory.grant}
        with log.open("ab") as told:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.inventory",
                "serve",
                env=environment(urls, certificates, beside.port, port),
                stdout=told,
                stderr=told,
                cwd=ROOT,
            )
        running = Inventory(urls, certificates, beside, directory, log, port, process)
        try:
            async with running.dial("booking") as channel:
                await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
            yield running
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
