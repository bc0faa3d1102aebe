"""From a tenant's name in a host or header to its id, remembered for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Protocol

import grpc

from services.chassis.errors import DependencyUnavailable, TenantUnknown
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError

KNOWN_SECONDS = 30.0  # a suspension takes this long to be felt by anonymous callers
UNKNOWN_SECONDS = 5.0
STALE_SECONDS = 3_600.0  # while the directory is out, a tenant known this recently still works
MAX_REMEMBERED = 10_000  # names


class TenantDirectory(Protocol):
    """Knows tenants."""

    async def find(self, slug: str) -> str:
        """The id of the active tenant with this name; raises TenantUnknown."""
        ...


class RemoteTenants:
    """Asks the service that owns tenants."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def find(self, slug: str) -> str:
        """Ask for the tenant."""
        from berth.auth.v1 import tenant_service_pb2 as messages
        from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceStub

        directory = self._channels.stub(DirectoryServiceStub, "auth", own_identity=True)
        try:
            tenant = await directory.ResolveTenant(messages.ResolveTenantRequest(slug=slug))
        except RemoteError as error:
            if error.code in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}:
                raise TenantUnknown from error
            raise
        return tenant.tenant_id


class RememberedTenants:
    """A directory whose answers are kept for a while, and for longer while it is out."""

    def __init__(self, directory: TenantDirectory) -> None:
        self._directory = directory
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()  # "" stands for an unknown tenant

    async def find(self, slug: str) -> str:
        """The id, from memory where it is fresh."""
        now = time.monotonic()
        found = self._known.get(slug)
        if found is None or now >= found[1]:
            found = await self._ask(slug, found, now)
        if not found[0]:
            raise TenantUnknown
        return found[0]

    async def _ask(self, slug: str, stale: tuple[str, float] | None, now: float) -> tuple[str, float]:
        try:
            answer = (await self._directory.find(slug), now + KNOWN_SECONDS)
        except TenantUnknown:
            answer = ("", now + UNKNOWN_SECONDS)
        except (RemoteError, DependencyUnavailable):
            if stale is None or not stale[0] or now >= stale[1] + STALE_SECONDS:
                raise
            return stale
        self._known[slug] = answer
        self._known.move_to_end(slug)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return answer
