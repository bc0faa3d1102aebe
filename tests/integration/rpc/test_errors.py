"""Every error reaches the caller as the contract says, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from berth.auth.v1 import auth_service_pb2, tenant_service_pb2
from berth.auth.v1.auth_service_pb2_grpc import AuthServiceStub, add_AuthServiceServicer_to_server
from berth.auth.v1.tenant_service_pb2_grpc import TenantServiceStub, add_TenantServiceServicer_to_server
from berth.booking.v1 import booking_service_pb2
from berth.booking.v1.booking_service_pb2_grpc import BookingServiceStub, add_BookingServiceServicer_to_server

from services.chassis.errors import DependencyUnavailable, NotFound, Refusal
from services.chassis.rpc.context import current
from services.chassis.rpc.errors import INTERNAL_MESSAGE, RemoteError
from tests.integration.rpc.serving import TENANT, Dial, Running, Serve, refusal, tenant

DEMO = (("berth-tenant", "demo"), ("x-request-id", "req-12345678"))
REGISTRATION: dict[str, Any] = {
    "email": "a@example.com",
    "password": "long enough",
    "first_name": "Ada",
    "last_name": "L.",
}


@dataclass
class Auth:
    """A server of auth's contracts, called as the gateway calls it."""

    running: Running
    channel: grpc.aio.Channel

    def log_in(self, answer: Callable[[], Any]) -> Awaitable[object]:
        async def handler(_request: object) -> Any:
            return answer()

        self.running.scripted.handlers["Login"] = handler
        request = auth_service_pb2.LoginRequest(email="ada@example.com", password="x")
        return AuthServiceStub(self.channel).Login(request, metadata=DEMO)


@pytest.fixture
async def auth(serve: Serve, dial: Dial) -> AsyncIterator[Auth]:
    async with (
        serve(add_AuthServiceServicer_to_server, add_TenantServiceServicer_to_server) as running,
        dial(running, "gateway") as channel,
    ):
        yield Auth(running, channel)


def send(channel: grpc.aio.Channel, path: str, raw: bytes) -> Awaitable[object]:
    method: Any = channel.unary_unary(path)
    answer: Awaitable[object] = method(raw, metadata=DEMO)
    return answer


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


async def test_a_refusal_carries_exactly_one_reason_its_metadata_and_the_request_id(auth: Auth) -> None:
    seen = await refusal(auth.log_in(raising(NotFound("There is no such thing.", resource="booking"))))
    assert seen.code is grpc.StatusCode.NOT_FOUND
    assert seen.message == "There is no such thing."
    assert [(info.reason, info.domain, dict(info.metadata)) for info in seen.infos] == [
        ("NOT_FOUND", "berth.dev", {"resource": "booking"})
    ]
    assert seen.request_id == "req-12345678"
    assert seen.retry_seconds is None
    assert "retry-after" not in seen.trailers


async def test_a_refusal_that_passes_says_when_to_come_back(auth: Auth) -> None:
    seen = await refusal(auth.log_in(raising(DependencyUnavailable(retry_after=timedelta(seconds=2.5)))))
    assert seen.code is grpc.StatusCode.UNAVAILABLE
    assert seen.retry_seconds == 2.5
    assert seen.trailers["retry-after"] == "3"


async def test_what_the_boundary_does_not_know_is_masked_and_logged(
    auth: Auth, caplog: pytest.LogCaptureFixture
) -> None:
    seen = await refusal(auth.log_in(raising(RuntimeError("password=hunter2 at 10.0.0.1"))))
    assert (seen.code, seen.reason, seen.message) == (grpc.StatusCode.INTERNAL, "INTERNAL", INTERNAL_MESSAGE)
    assert not any(
        b"hunter2" in (value if isinstance(value, bytes) else value.encode()) for value in seen.trailers.values()
    )
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.request_id == "req-12345678"  # type: ignore[attr-defined]  # given as `extra`


class Undocumented(Refusal):
    """Nobody wrote this reason into a contract."""

    reason = "NEVER_HEARD_OF"


@pytest.mark.parametrize(
    "refused_with", [Undocumented(), NotFound(), NotFound(resource="x", more="y")], ids=["reason", "missing", "extra"]
)
async def test_a_refusal_that_its_contract_does_not_know_is_a_fault_of_ours(auth: Auth, refused_with: Refusal) -> None:
    seen = await refusal(auth.log_in(raising(refused_with)))
    assert (seen.code, seen.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INTERNAL, "INTERNAL"),
        (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INTERNAL, "INTERNAL"),
    ],
)
async def test_a_dependency_that_nobody_translated(
    auth: Auth, code: grpc.StatusCode, expected: grpc.StatusCode, reason: str
) -> None:
    seen = await refusal(auth.log_in(raising(RemoteError(code, "SECRET_REASON", "inner text"))))
    assert (seen.code, seen.reason) == (expected, reason)
    assert "inner text" not in seen.message


async def test_invalid_fields_are_named_as_json_names_them(auth: Auth) -> None:
    stub = AuthServiceStub(auth.channel)
    request = auth_service_pb2.RegisterRequest(**REGISTRATION | {"email": "nobody", "first_name": ""})
    seen = await refusal(stub.Register(request, metadata=DEMO))
    assert (seen.code, seen.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [(found.field, found.reason) for found in seen.violations] == [
        ("email", "string.email"),
        ("firstName", "required"),
    ]
    assert all(found.description for found in seen.violations)


async def test_a_nested_field_has_its_whole_path(serve: Serve, dial: Dial) -> None:
    async with serve(add_BookingServiceServicer_to_server) as running, dial(running, "gateway") as channel:
        request = booking_service_pb2.CreateBookingRequest()
        request.items.add()
        request.user_details.email = "nobody"
        metadata = (*DEMO, ("authorization", f"Bearer {running.keys.token('bookings.create')}"))
        seen = await refusal(BookingServiceStub(channel).CreateBooking(request, metadata=metadata))
    fields = {found.field for found in seen.violations}
    assert "items[0].resourceId" in fields
    assert "userDetails.email" in fields


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x02\xc3\x28", b"\x0a\x7f"], ids=["junk", "utf8", "cut"])
async def test_bytes_that_are_no_message(auth: Auth, raw: bytes) -> None:
    seen = await refusal(send(auth.channel, "/berth.auth.v1.AuthService/Register", raw))
    assert (seen.code, seen.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")


@pytest.mark.parametrize("path", ["/berth.auth.v1.AuthService/Nothing", "/nobody.v1.Nothing/At", "/x"])
async def test_a_method_that_does_not_exist(auth: Auth, path: str) -> None:
    seen = await refusal(send(auth.channel, path, b""))
    assert (seen.code, seen.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert seen.request_id == "req-12345678"


async def test_what_creates_says_201_and_where(auth: Auth) -> None:
    stub = TenantServiceStub(auth.channel)

    async def create(_request: object) -> tenant_service_pb2.Tenant:
        current().location = f"/api/v1/tenants/{TENANT}"
        return tenant()

    auth.running.scripted.handlers["CreateTenant"] = create
    metadata = (*DEMO, ("authorization", f"Bearer {auth.running.keys.token('tenants.manage')}"))
    call = stub.CreateTenant(tenant_service_pb2.CreateTenantRequest(slug="abc", display_name="Abc"), metadata=metadata)
    assert (await call).tenant_id == TENANT
    sent = dict(await call.initial_metadata())
    assert (sent["berth-http-status"], sent["location"]) == ("201", f"/api/v1/tenants/{TENANT}")


async def test_one_line_a_call_without_what_was_in_it(auth: Auth, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "berth.calls")
    await refusal(auth.log_in(raising(NotFound(resource="user"))))
    await asyncio.sleep(0.05)  # the line follows the answer
    (line,) = [vars(record) for record in caplog.records if record.name == "berth.calls"]
    assert (line["method"], line["code"], line["reason"]) == (
        "/berth.auth.v1.AuthService/Login",
        "NOT_FOUND",
        "NOT_FOUND",
    )
    assert (line["peer"], line["tenant_id"], line["request_id"]) == ("gateway", TENANT, "req-12345678")
    assert "ada@example.com" not in json.dumps({name: str(value) for name, value in line.items()})
