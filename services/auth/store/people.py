"""Tenants and their people, as rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.auth.domain.roles import Role
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import Profile, User, UserStatus, email_key
from services.auth.store.tables import passwords, tenants, users, vendor_owners


def tenant_of(row: Any) -> Tenant:
    """A tenant from its row."""
    return Tenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        display_name=row.display_name,
        status=TenantStatus(row.status),
        create_time=row.create_time,
    )


class TenantRows:
    """The tenants port over one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, tenant_id: str, *, lock: bool = False) -> Tenant | None:
        """One tenant."""
        query = select(tenants).where(tenants.c.tenant_id == tenant_id)
        row = (await self._connection.execute(query.with_for_update() if lock else query)).first()
        return tenant_of(row) if row else None

    async def page(self, after: str, size: int) -> list[Tenant]:
        """Tenants in the order of their ids."""
        query = select(tenants).where(tenants.c.tenant_id > after).order_by(tenants.c.tenant_id).limit(size)
        return [tenant_of(row) for row in await self._connection.execute(query)]

    async def add(self, tenant: Tenant) -> bool:
        """Store a new tenant; False when its slug is taken."""
        statement = (
            upsert(tenants)
            .values(
                tenant_id=tenant.tenant_id,
                slug=tenant.slug,
                display_name=tenant.display_name,
                status=tenant.status.value,
                create_time=tenant.create_time,
            )
            .on_conflict_do_nothing(index_elements=[tenants.c.slug])
            .returning(tenants.c.tenant_id)
        )
        return (await self._connection.execute(statement)).first() is not None

    async def save(self, tenant: Tenant) -> None:
        """Store a tenant's status."""
        statement = update(tenants).where(tenants.c.tenant_id == tenant.tenant_id)
        await self._connection.execute(statement.values(status=tenant.status.value))


class UserRows:
    """The users port over one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def get(self, user_id: str, *, lock: bool = False) -> User | None:
        """One person."""
        query = select(users).where(users.c.tenant_id == self._tenant_id, users.c.user_id == user_id)
        row = (await self._connection.execute(query.with_for_update() if lock else query)).first()
        return user_of(row) if row else None

    async def by_email(self, email_key: str, *, lock: bool = False) -> User | None:
        """The person that has the address."""
        query = select(users).where(users.c.tenant_id == self._tenant_id, users.c.email_key == email_key)
        row = (await self._connection.execute(query.with_for_update() if lock else query)).first()
        return user_of(row) if row else None

    async def add(self, user: User, password_hash: str) -> None:
        """Store a new person with their password's hash."""
        await self._connection.execute(
            insert(users).values(
                user_id=user.user_id, tenant_id=self._tenant_id, create_time=user.create_time, **_columns(user)
            )
        )
        await self.set_password_hash(user.user_id, password_hash)

    async def save(self, user: User) -> None:
        """Store what changed of a person."""
        mine = (users.c.tenant_id == self._tenant_id, users.c.user_id == user.user_id)
        await self._connection.execute(update(users).where(*mine).values(**_columns(user)))

    async def password_hash(self, user_id: str) -> str | None:
        """The hash of the person's password."""
        query = select(passwords.c.hash).where(passwords.c.tenant_id == self._tenant_id, passwords.c.user_id == user_id)
        found: str | None = (await self._connection.execute(query)).scalar()
        return found

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """Replace the hash of the person's password."""
        statement = upsert(passwords).values(user_id=user_id, tenant_id=self._tenant_id, hash=password_hash)
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[passwords.c.user_id], set_={"hash": statement.excluded.hash}
            )
        )

    async def grant_vendor(self, user_id: str, vendor_id: str, at: datetime) -> None:
        """Note that the person owns the vendor."""
        row = {"user_id": user_id, "vendor_id": vendor_id, "tenant_id": self._tenant_id, "grant_time": at}
        await self._connection.execute(upsert(vendor_owners).values(row).on_conflict_do_nothing())

    async def vendors_of(self, user_id: str, most: int) -> list[str]:
        """The vendors that the person owns, the latest first."""
        query = (
            select(vendor_owners.c.vendor_id)
            .where(vendor_owners.c.tenant_id == self._tenant_id, vendor_owners.c.user_id == user_id)
            .order_by(vendor_owners.c.grant_time.desc(), vendor_owners.c.vendor_id.desc())
            .limit(most)
        )
        return list((await self._connection.execute(query)).scalars())


def _columns(user: User) -> dict[str, object]:
    profile = user.profile
    return {
        "email": profile.email,
        "email_key": email_key(profile.email),
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "phone": profile.phone,
        "locale": profile.locale,
        "status": user.status.value,
        "roles": [role.value for role in user.roles],
        "revision": user.revision,
        "update_time": user.update_time,
    }


def user_of(row: Any) -> User:
    """The person that a row tells of."""
    return User(
        user_id=row.user_id,
        tenant_id=row.tenant_id,
        profile=Profile(
            email=row.email,
            first_name=row.first_name,
            last_name=row.last_name,
            phone=row.phone,
            locale=row.locale,
        ),
        status=UserStatus(row.status),
        roles=tuple(Role(role) for role in row.roles),
        create_time=row.create_time,
        update_time=row.update_time,
        revision=row.revision,
    )
