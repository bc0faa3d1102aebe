"""Auth's servicers: wire in, use case, wire out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from berth.auth.v1 import auth_service_pb2 as auth
from berth.auth.v1 import tenant_service_pb2 as tenancy
from berth.auth.v1 import user_pb2, user_service_pb2
from berth.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceServicer, KeyServiceServicer, TenantServiceServicer
from berth.auth.v1.user_service_pb2_grpc import UserServiceServicer

from services.auth import wire
from services.auth.domain.tenants import TenantStatus
from services.auth.ports import Ports
from services.auth.usecases import directory, keys, profile, registration, sessions, tenants
from services.chassis import paging
from services.chassis.errors import PageTokenInvalid
from services.chassis.ids import is_id
from services.chassis.instants import instant_to
from services.chassis.rpc.context import current

TENANTS_DEFAULT: Final = 50
TENANTS_MOST: Final = 200


class AuthRpc(AuthServiceServicer):
    """AuthService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def Register(self, request: auth.RegisterRequest, _: Any) -> auth.RegisterResponse:
        call = current()
        command = wire.register_command(request)
        expire_time = await registration.register(self._ports, call.principal, command, call.idempotency)
        return auth.RegisterResponse(otp_expire_time=instant_to(expire_time))

    async def VerifyEmail(self, request: auth.VerifyEmailRequest, _: Any) -> auth.VerifyEmailResponse:
        call = current()
        command = registration.VerifyEmail(request.email, request.otp)
        user = await registration.verify_email(self._ports, call.principal, command, call.idempotency)
        return auth.VerifyEmailResponse(user=wire.user_message(user))

    async def ResendOtp(self, request: auth.ResendOtpRequest, _: Any) -> auth.ResendOtpResponse:
        call = current()
        command = registration.ResendOtp(request.email)
        expire_time = await registration.resend_otp(self._ports, call.principal, command, call.idempotency)
        return auth.ResendOtpResponse(otp_expire_time=instant_to(expire_time))

    async def Login(self, request: auth.LoginRequest, _: Any) -> auth.LoginResponse:
        tokens, user = await sessions.login(self._ports, current().principal, wire.login_command(request))
        return auth.LoginResponse(tokens=wire.tokens_message(tokens), user=wire.user_message(user))

    async def Refresh(self, request: auth.RefreshRequest, _: Any) -> auth.RefreshResponse:
        tokens = await sessions.refresh(self._ports, current().principal, request.refresh_token)
        return auth.RefreshResponse(tokens=wire.tokens_message(tokens))

    async def Logout(self, request: auth.LogoutRequest, _: Any) -> auth.LogoutResponse:
        await sessions.logout(self._ports, current().principal, request.refresh_token)
        return auth.LogoutResponse()


class UserRpc(UserServiceServicer):
    """UserService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def GetMe(self, _request: user_service_pb2.GetMeRequest, _: Any) -> user_pb2.User:
        return wire.user_message(await profile.get_me(self._ports, current().principal))

    async def UpdateMe(self, request: user_service_pb2.UpdateMeRequest, _: Any) -> user_pb2.User:
        call = current()
        command = wire.update_me_command(request)
        return wire.user_message(await profile.update_me(self._ports, call.principal, command, call.idempotency))


class TenantRpc(TenantServiceServicer):
    """TenantService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def CreateTenant(self, request: tenancy.CreateTenantRequest, _: Any) -> tenancy.Tenant:
        call = current()
        command = tenants.CreateTenant(request.slug, request.display_name)
        tenant = await tenants.create_tenant(self._ports, call.principal, command, call.idempotency)
        call.location = f"/api/v1/tenants/{tenant.tenant_id}"
        return wire.tenant_message(tenant)

    async def GetTenant(self, request: tenancy.GetTenantRequest, _: Any) -> tenancy.Tenant:
        return wire.tenant_message(await tenants.get_tenant(self._ports, current().principal, request.tenant_id))

    async def ListTenants(self, request: tenancy.ListTenantsRequest, _: Any) -> tenancy.ListTenantsResponse:
        size = paging.page_size(request.page_size, default=TENANTS_DEFAULT, maximum=TENANTS_MOST)
        after = _after(request.page_token) if request.page_token else ""
        found, more = await tenants.list_tenants(self._ports, current().principal, after, size)
        return tenancy.ListTenantsResponse(
            tenants=[wire.tenant_message(tenant) for tenant in found],
            next_page_token=paging.encode({"after": found[-1].tenant_id}, b"tenants") if more else "",
        )

    async def SuspendTenant(self, request: tenancy.SuspendTenantRequest, _: Any) -> tenancy.Tenant:
        return await self._move(request.tenant_id, TenantStatus.SUSPENDED)

    async def ResumeTenant(self, request: tenancy.ResumeTenantRequest, _: Any) -> tenancy.Tenant:
        return await self._move(request.tenant_id, TenantStatus.ACTIVE)

    async def _move(self, tenant_id: str, status: TenantStatus) -> tenancy.Tenant:
        call = current()
        tenant = await tenants.move_tenant(self._ports, call.principal, tenant_id, status, call.idempotency)
        return wire.tenant_message(tenant)


def _after(page_token: str) -> str:
    after = paging.decode(page_token, b"tenants").get("after")
    if not isinstance(after, str) or not is_id("ten", after):
        raise PageTokenInvalid
    return after


class KeyRpc(KeyServiceServicer):
    """KeyService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def GetJwks(self, _request: tenancy.GetJwksRequest, _: Any) -> tenancy.Jwks:
        return tenancy.Jwks(keys=[wire.jwk_message(key) for key in await keys.published_keys(self._ports)])


class DirectoryRpc(DirectoryServiceServicer):
    """DirectoryService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def ResolveTenant(self, request: tenancy.ResolveTenantRequest, _: Any) -> tenancy.Tenant:
        return wire.tenant_message(await directory.resolve_tenant(self._ports, request.slug))

    async def GetContact(self, request: tenancy.GetContactRequest, _: Any) -> tenancy.Contact:
        return wire.contact_message(await directory.get_contact(self._ports, current().principal, request.user_id))

    async def GetOtp(self, request: tenancy.GetOtpRequest, _: Any) -> tenancy.GetOtpResponse:
        otp, expire_time = await directory.get_otp(self._ports, current().principal, request.challenge_id)
        return tenancy.GetOtpResponse(otp=otp, expire_time=instant_to(expire_time))

    async def GrantVendor(self, request: tenancy.GrantVendorRequest, _: Any) -> tenancy.GrantVendorResponse:
        await directory.grant_vendor(self._ports, current().principal, request.user_id, request.vendor_id)
        return tenancy.GrantVendorResponse()


class OwnKeys:
    """The key set for auth's own server, which need not ask itself over the wire."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def fetch(self) -> Sequence[Mapping[str, str]]:
        """Every key that a valid token may name."""
        messages = [wire.jwk_message(key) for key in await keys.published_keys(self._ports)]
        return [{field.name: value for field, value in message.ListFields()} for message in messages]


class OwnTenants:
    """The directory of tenants for auth's own server."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def find(self, slug: str) -> str:
        """The id of the active tenant with this name."""
        return (await directory.resolve_tenant(self._ports, slug)).tenant_id
