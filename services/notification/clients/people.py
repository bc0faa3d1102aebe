"""People and their codes, from auth."""

from __future__ import annotations

import grpc
from berth.auth.v1.tenant_service_pb2 import GetContactRequest, GetOtpRequest
from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceStub

from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError, refusal_of
from services.notification import wire
from services.notification.domain import Code, Contact, Gone


class RemotePeople:
    """Asks auth's directory."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def contact(self, user_id: str) -> Contact:
        """How to write to a person."""
        stub = self._channels.stub(DirectoryServiceStub, "auth")
        try:
            return wire.contact(await stub.GetContact(GetContactRequest(user_id=user_id)))
        except RemoteError as error:
            raise (_translated(error, "the person is gone")) from error

    async def code(self, challenge_id: str) -> Code:
        """A code that is to be mailed."""
        stub = self._channels.stub(DirectoryServiceStub, "auth")
        try:
            return wire.code(await stub.GetOtp(GetOtpRequest(challenge_id=challenge_id)))
        except RemoteError as error:
            raise (_translated(error, "the code is gone")) from error


def _translated(error: RemoteError, gone: str) -> Exception:
    if error.code is grpc.StatusCode.NOT_FOUND:
        return Gone(gone)
    return refusal_of(error) or error
