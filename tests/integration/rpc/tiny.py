"""A service as small as one can be, for tests of the process around it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from berth.auth.v1 import tenant_service_pb2
from berth.auth.v1.tenant_service_pb2_grpc import add_KeyServiceServicer_to_server
from sqlalchemy import MetaData

from services.chassis.config import ServiceConfig
from services.chassis.rpc import context
from services.chassis.service import Built, Foundation, ServiceSpec, run
from services.chassis.tokens.keys import Jwk


class Servicer:
    """Answers after as many seconds as its database says."""

    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation

    async def GetJwks(self, _request: object, _context: object) -> tenant_service_pb2.Jwks:  # noqa: N802 - the contract's name
        await self._foundation.database.fetch_one("SELECT pg_sleep(0.5)")
        return tenant_service_pb2.Jwks(keys=[tenant_service_pb2.Jwk(kid=context.current().request_id)])


class NoKeys:
    """There are none."""

    async def fetch(self) -> list[Jwk]:
        return []


class NoTenants:
    """There are none."""

    async def find(self, slug: str) -> str:
        return slug


async def build(_config: ServiceConfig, foundation: Foundation) -> Built:
    async def fails_once(stop: asyncio.Event) -> None:
        if not failed:
            failed.append(True)
            raise RuntimeError("the first time it fails")
        sys.stderr.write("background work runs\n")
        await stop.wait()
        sys.stderr.write("background work ends\n")

    failed: list[bool] = []
    return Built(
        servicers=[(add_KeyServiceServicer_to_server, Servicer(foundation))],
        background=[fails_once],
        keys=NoKeys(),
        tenants=NoTenants(),
    )


async def seed(_config: ServiceConfig, foundation: Foundation, data: Any) -> None:
    found = await foundation.worker_database.fetch_one("SELECT current_user AS name")
    Path(data["tell"]).write_text(str(found.name if found else ""))  # noqa: ASYNC240 - nothing else runs


if __name__ == "__main__":
    run(ServiceSpec(name="tiny", config=ServiceConfig, build=build, metadata=MetaData(), seed=seed))
