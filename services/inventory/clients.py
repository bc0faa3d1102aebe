"""Auth behind our port: who owns which vendor."""

from __future__ import annotations

from typing import Any

from berth.auth.v1 import tenant_service_pb2 as auth
from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceStub

from services.chassis.errors import DependencyUnavailable
from services.chassis.rpc import context
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError

GRANT_SECONDS = 2.0  # a caller who creates a vendor waits no longer for auth; a worker tells it later


class RemoteDirectory:
    """Auth's DirectoryService."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def grant_vendor(self, tenant_id: str, user_id: str, vendor_id: str) -> None:
        """Make a person a vendor's owner; whatever keeps auth from it, it is asked again."""
        # Connecting waits until somebody needs it: a service that starts before auth knows it serves already.
        stub: Any = self._channels.stub(DirectoryServiceStub, "auth")
        left = context.remaining()
        seconds = GRANT_SECONDS if left is None else min(GRANT_SECONDS, left)
        with context.background("grant_vendor", tenant_id=tenant_id, on_behalf_of=user_id, seconds=seconds):
            try:
                await stub.GrantVendor(auth.GrantVendorRequest(user_id=user_id, vendor_id=vendor_id))
            except RemoteError as error:
                raise DependencyUnavailable from error
