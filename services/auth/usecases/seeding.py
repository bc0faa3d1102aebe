"""Demo data: a marketplace with its people, the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.auth.domain.roles import Role
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import Profile, User, UserStatus, email_key
from services.auth.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoUser:
    """A person of the demo, verified from the start."""

    user_id: str
    profile: Profile
    password: str
    roles: tuple[Role, ...]
    vendor_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The demo marketplace."""

    tenant_id: str
    slug: str
    display_name: str
    users: Sequence[DemoUser]


async def plant(ports: Ports, demo: Demo) -> int:
    """Store what is not there yet; how many people were new."""
    now = ports.clock.now()
    tenant = Tenant(
        tenant_id=demo.tenant_id,
        slug=demo.slug,
        display_name=demo.display_name,
        status=TenantStatus.ACTIVE,
        create_time=now,
    )
    planted = 0
    async with ports.work.platform(demo.tenant_id) as unit:
        await unit.tenants.add(tenant)
        for person in demo.users:
            if await unit.users.by_email(email_key(person.profile.email)) is None:
                user = User(
                    user_id=person.user_id,
                    tenant_id=demo.tenant_id,
                    profile=person.profile,
                    status=UserStatus.ACTIVE,
                    roles=person.roles,
                    create_time=now,
                    update_time=now,
                )
                await unit.users.add(user, await ports.passwords.hash(person.password))
                planted += 1
            for vendor_id in person.vendor_ids:
                await unit.users.grant_vendor(person.user_id, vendor_id, now)
    return planted
