"""What other services may know of tenants and people, and tell about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.roles import Role
from services.auth.domain.tenants import Tenant, TenantStatus, is_slug
from services.auth.domain.users import User
from services.auth.ports import Ports
from services.chassis.errors import NotFound, TenantUnknown
from services.chassis.principal import Principal


@dataclass(frozen=True, slots=True)
class Contact:
    """How to write to a person."""

    user: User
    tenant: Tenant


async def resolve_tenant(ports: Ports, slug: str) -> Tenant:
    """The working tenant that has the slug."""
    # What cannot be a slug is not even looked up: it comes from outside, and PostgreSQL chokes on some of it.
    tenant = await ports.work.tenant_by_slug(slug) if is_slug(slug) else None
    if tenant is None or tenant.status is not TenantStatus.ACTIVE:
        raise TenantUnknown
    return tenant


async def get_contact(ports: Ports, caller: Principal, user_id: str) -> Contact:
    """How to write to one of the tenant's people."""
    _must_name_a_tenant(caller, "user")
    found = await ports.work.contact(caller.tenant_id, user_id)
    if found is None:
        raise NotFound(resource="user")
    return Contact(*found)


async def get_otp(ports: Ports, caller: Principal, challenge_id: str) -> tuple[str, datetime]:
    """A code to mail and when it ends; one that no longer lives is not there."""
    _must_name_a_tenant(caller, "otp")
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        challenge = await unit.challenges.get(challenge_id)
    if challenge is None or not challenge.is_live(now):
        raise NotFound(resource="otp")
    return ports.secrets.open_otp(challenge.challenge_id, challenge.sealed), challenge.expire_time


async def grant_vendor(ports: Ports, caller: Principal, user_id: str, vendor_id: str) -> None:
    """Make a person a vendor's owner, from their next token on; being it already is fine."""
    _must_name_a_tenant(caller, "user")
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        user = await unit.users.get(user_id, lock=True)
        if user is None:
            raise NotFound(resource="user")
        await unit.users.grant_vendor(user_id, vendor_id, now)
        owner = user.with_role(Role.VENDOR_OWNER, now)
        if owner is not user:
            await unit.users.save(owner)


def _must_name_a_tenant(caller: Principal, resource: str) -> None:
    # A service acts for somebody's tenant; acting for none, it sees nothing.
    if not caller.tenant_id:
        raise NotFound(resource=resource)
