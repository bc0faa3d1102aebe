"""Administration of tenants by the platform."""

from __future__ import annotations

from dataclasses import dataclass

from services.auth.domain.errors import TenantExists
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.ports import Ports
from services.auth.usecases.claims import claim
from services.chassis.errors import InvalidField, NotFound, Violation
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal


@dataclass(frozen=True, slots=True)
class CreateTenant:
    """A marketplace to open."""

    slug: str
    display_name: str


async def create_tenant(ports: Ports, caller: Principal, command: CreateTenant, key: IdempotencyKey | None) -> Tenant:
    """Open a marketplace."""
    display_name = command.display_name.strip()
    if not display_name:
        raise InvalidField(violations=(Violation("display_name", "must not be blank", "string.min_len"),))
    now = ports.clock.now()
    tenant = Tenant(
        tenant_id=new_id("ten", at=now),
        slug=command.slug,
        display_name=display_name,
        status=TenantStatus.ACTIVE,
        create_time=now,
    )
    async with ports.work.platform(caller.tenant_id) as unit:
        claimed = await claim(unit, key, tenant.tenant_id, now)
        if not claimed.first:
            return _found(await unit.tenants.get(claimed.resource_id))
        if not await unit.tenants.add(tenant):
            raise TenantExists(slug=command.slug)
    return tenant


async def get_tenant(ports: Ports, caller: Principal, tenant_id: str) -> Tenant:
    """One marketplace."""
    async with ports.work.platform(caller.tenant_id) as unit:
        return _found(await unit.tenants.get(tenant_id))


async def list_tenants(ports: Ports, caller: Principal, after: str, size: int) -> tuple[list[Tenant], bool]:
    """Marketplaces, oldest first, from the first one past `after`; and whether there are more."""
    async with ports.work.platform(caller.tenant_id) as unit:
        found = await unit.tenants.page(after, size + 1)
    return found[:size], len(found) > size


async def move_tenant(
    ports: Ports, caller: Principal, tenant_id: str, status: TenantStatus, key: IdempotencyKey | None
) -> Tenant:
    """Stop a marketplace, or let it work again; it may be so already."""
    now = ports.clock.now()
    async with ports.work.platform(caller.tenant_id) as unit:
        claimed = await claim(unit, key, tenant_id, now)
        tenant = _found(await unit.tenants.get(tenant_id, lock=True))
        # The same key again does not stop what was let work in between.
        if claimed.first and tenant.status is not status:
            tenant = tenant.moved_to(status)
            await unit.tenants.save(tenant)
    return tenant


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise NotFound(resource="tenant")
    return tenant
