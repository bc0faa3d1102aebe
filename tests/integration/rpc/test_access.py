"""Who may call what: by certificate, by token, by tenant, and by the contract alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from berth.auth.v1 import auth_service_pb2, tenant_service_pb2
from berth.auth.v1.auth_service_pb2_grpc import AuthServiceStub, add_AuthServiceServicer_to_server
from berth.auth.v1.tenant_service_pb2_grpc import (
    DirectoryServiceStub,
    KeyServiceStub,
    TenantServiceStub,
    add_DirectoryServiceServicer_to_server,
    add_KeyServiceServicer_to_server,
    add_TenantServiceServicer_to_server,
)
from berth.booking.v1 import booking_pb2, booking_service_pb2
from berth.booking.v1.booking_service_pb2_grpc import BookingServiceStub, add_BookingServiceServicer_to_server

from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal
from services.chassis.rpc.context import current
from tests.integration.rpc.serving import OTHER_TENANT, TENANT, USER, Dial, Running, Serve, refusal, tenant

ACTOR = (("berth-tenant", TENANT), ("berth-on-behalf-of", USER))


@dataclass
class Everything:
    """A server of several contracts; `callers` keeps whom its handlers saw."""

    running: Running
    dial: Dial
    callers: list[Principal] = field(default_factory=list)

    def answer(self, method: str, answer: Any) -> None:
        async def handler(_request: object) -> Any:
            self.callers.append(current().principal)
            return answer

        self.running.scripted.handlers[method] = handler

    def token(self, *permissions: str, **claims: Any) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.running.keys.token(*permissions, **claims)}"),)


@pytest.fixture
async def mesh(serve: Serve, dial: Dial) -> AsyncIterator[Everything]:
    async with serve(
        add_AuthServiceServicer_to_server,
        add_BookingServiceServicer_to_server,
        add_DirectoryServiceServicer_to_server,
        add_KeyServiceServicer_to_server,
        add_TenantServiceServicer_to_server,
    ) as running:
        everything = Everything(running, dial)
        everything.answer("Login", auth_service_pb2.LoginResponse())
        everything.answer("GetTenant", tenant())
        everything.answer("ResolveTenant", tenant())
        everything.answer("GetContact", tenant_service_pb2.Contact())
        everything.answer("GetJwks", tenant_service_pb2.Jwks())
        yield everything


def log_in(channel: grpc.aio.Channel, metadata: Any) -> Awaitable[Any]:
    request = auth_service_pb2.LoginRequest(email="ada@example.com", password="x")
    return AuthServiceStub(channel).Login(request, metadata=metadata)


def get_tenant(channel: grpc.aio.Channel, metadata: Any) -> Awaitable[Any]:
    return TenantServiceStub(channel).GetTenant(
        tenant_service_pb2.GetTenantRequest(tenant_id=TENANT), metadata=metadata
    )


def get_contact(channel: grpc.aio.Channel, metadata: Any) -> Awaitable[Any]:
    request = tenant_service_pb2.GetContactRequest(user_id=USER)
    return DirectoryServiceStub(channel).GetContact(request, metadata=metadata)


def get_keys(channel: grpc.aio.Channel, metadata: Any) -> Awaitable[Any]:
    return KeyServiceStub(channel).GetJwks(tenant_service_pb2.GetJwksRequest(), metadata=metadata)


DEMO = (("berth-tenant", "demo"),)


@pytest.mark.parametrize("peer", ["gateway", "operator"])
async def test_a_public_method_is_for_everybody_of_a_tenant(mesh: Everything, peer: str) -> None:
    async with mesh.dial(mesh.running, peer) as channel:
        await log_in(channel, DEMO)
    assert mesh.callers == [Principal("anonymous", TENANT, "")]


@pytest.mark.parametrize(
    "metadata", [(), (("berth-tenant", "nobody"),), (("berth-tenant", TENANT),), (("berth-tenant", "x" * 99),)]
)
async def test_an_anonymous_call_without_a_tenant_that_exists(mesh: Everything, metadata: Any) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        seen = await refusal(log_in(channel, metadata))
    assert (seen.code, seen.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_UNKNOWN")


async def test_a_method_outside_tenants_needs_none(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        await get_keys(channel, ())
    assert mesh.callers[0].tenant_id == ""


async def test_a_permission_comes_with_a_token(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        seen = await refusal(get_tenant(channel, DEMO))
        assert (seen.code, seen.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        seen = await refusal(get_tenant(channel, mesh.token("other.permission")))
        assert (seen.code, seen.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
        assert dict(seen.infos[0].metadata) == {"permission": "tenants.manage"}
        await get_tenant(channel, mesh.token("tenants.manage"))
    (caller,) = mesh.callers
    assert (caller.kind, caller.tenant_id, caller.subject) == ("user", TENANT, USER)
    assert caller.may("tenants.manage")


@pytest.mark.parametrize("sent", ["Bearer ", "Bearer x", "Basic abc", "Bearer a.b.c", "nothing", ""])
async def test_a_token_that_is_none_is_refused_even_where_none_is_needed(mesh: Everything, sent: str) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        seen = await refusal(log_in(channel, (*DEMO, ("authorization", sent))))
    assert (seen.code, seen.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")


async def test_an_expired_token_is_refused_at_the_edge_and_finishes_its_call_inside(mesh: Everything) -> None:
    expired = mesh.token("tenants.manage", seconds=-5)
    async with mesh.dial(mesh.running, "gateway") as channel:
        assert (await refusal(get_tenant(channel, expired))).reason == "TOKEN_INVALID"
    async with mesh.dial(mesh.running, "notification") as channel:
        await get_contact(channel, expired)
        assert (await refusal(get_contact(channel, mesh.token(seconds=-100)))).reason == "TOKEN_INVALID"


async def test_host_and_token_must_name_the_same_tenant(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        seen = await refusal(get_tenant(channel, (*mesh.token("tenants.manage"), ("berth-tenant", "other"))))
        assert (seen.code, seen.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        await get_tenant(channel, (*mesh.token("tenants.manage", tenant_id=OTHER_TENANT), ("berth-tenant", "other")))
    assert mesh.callers[0].tenant_id == OTHER_TENANT


@pytest.mark.parametrize("peer", ["gateway", "operator", "inventory", "booking", "payment", "auth"])
@pytest.mark.parametrize("with_token", [True, False])
async def test_an_internal_method_is_for_the_services_that_its_contract_names(
    mesh: Everything, peer: str, with_token: bool
) -> None:
    async with mesh.dial(mesh.running, peer) as channel:
        seen = await refusal(get_contact(channel, mesh.token("tenants.manage") if with_token else ACTOR))
    assert (seen.code, seen.reason) == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")
    assert mesh.callers == []


async def test_a_service_acts_for_itself_and_for_whom_it_names(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "notification") as channel:
        await get_contact(channel, ACTOR)
        await get_contact(channel, ())
        await get_contact(channel, mesh.token())
    assert [(caller.kind, caller.subject, caller.tenant_id, caller.on_behalf_of) for caller in mesh.callers] == [
        ("service", "notification", TENANT, USER),
        ("service", "notification", "", ""),
        ("user", USER, TENANT, ""),
    ]


@pytest.mark.parametrize(
    "metadata", [(("berth-tenant", "demo"),), (("berth-tenant", TENANT), ("berth-on-behalf-of", "root"))]
)
async def test_a_service_names_tenants_and_people_by_id(mesh: Everything, metadata: Any) -> None:
    async with mesh.dial(mesh.running, "notification") as channel:
        assert (await refusal(get_contact(channel, metadata))).reason == "TOKEN_INVALID"


@pytest.mark.parametrize("peer", ["gateway", "operator"])
async def test_nobody_outside_speaks_for_others(mesh: Everything, peer: str) -> None:
    async with mesh.dial(mesh.running, peer) as channel:
        await log_in(channel, (*DEMO, ("berth-on-behalf-of", USER)))
        assert (await refusal(get_tenant(channel, (*DEMO, ("berth-on-behalf-of", USER))))).reason == "TOKEN_MISSING"
    assert mesh.callers == [Principal("anonymous", TENANT, "")]


async def test_a_service_calls_a_public_method_only_where_it_is_named(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "booking") as channel:
        await get_keys(channel, ())
        assert (await refusal(log_in(channel, ACTOR))).reason == "CALLER_NOT_ALLOWED"
    assert [caller.kind for caller in mesh.callers] == ["service"]


async def test_no_certificate_no_call(mesh: Everything) -> None:
    for credentials in (None, grpc.ssl_channel_credentials(mesh.running.config.tls_ca.read_bytes())):
        address = f"127.0.0.1:{mesh.running.port}"
        options = (("grpc.ssl_target_name_override", "auth"),)
        channel = (
            grpc.aio.insecure_channel(address)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, options=options)
        )
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await AuthServiceStub(channel).Login(
                    auth_service_pb2.LoginRequest(email="ada@example.com", password="x"), metadata=DEMO, timeout=5
                )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mesh.callers == []


async def test_strangers_learn_nothing_about_fields(mesh: Everything) -> None:
    async with mesh.dial(mesh.running, "gateway") as channel:
        bad = tenant_service_pb2.GetTenantRequest(tenant_id="not an id")
        seen = await refusal(TenantServiceStub(channel).GetTenant(bad, metadata=mesh.token("nothing")))
    assert seen.reason == "PERMISSION_DENIED"
    assert seen.violations == []


def pay(channel: grpc.aio.Channel, token: str, metadata: Any) -> Awaitable[Any]:
    request = booking_service_pb2.AttemptBookingPaymentRequest(booking_id=f"bkg_{TENANT[4:]}")
    request.payment_details.token = token
    return BookingServiceStub(channel).AttemptBookingPayment(request, metadata=metadata)


@pytest.mark.parametrize("key", [None, "", " ", "a b", "x" * 256])
async def test_a_required_key_is_there_and_can_be_read(mesh: Everything, key: str | None) -> None:
    sent = () if key is None else (("idempotency-key", key),)
    async with mesh.dial(mesh.running, "gateway") as channel:
        seen = await refusal(pay(channel, "tok_1", (*mesh.token("bookings.create"), *sent)))
    assert (seen.code, seen.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID")


async def test_a_key_stands_for_its_caller_method_and_request(mesh: Everything) -> None:
    keys: list[IdempotencyKey | None] = []

    async def handler(_request: object) -> Any:
        keys.append(current().idempotency)
        return booking_pb2.Booking()

    mesh.running.scripted.handlers["AttemptBookingPayment"] = handler
    metadata = (*mesh.token("bookings.create"), ("idempotency-key", "k" * 255))
    async with mesh.dial(mesh.running, "gateway") as channel:
        for token in ("tok_1", "tok_1", "tok_2"):
            await pay(channel, token, metadata)
    first, again, other = keys
    assert first is not None
    assert other is not None
    assert first == again
    assert (first.tenant_id, first.principal, first.key) == (TENANT, USER, "k" * 255)
    assert first.method == "/berth.booking.v1.BookingService/AttemptBookingPayment"
    assert first.request_hash != other.request_hash
