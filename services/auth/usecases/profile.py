"""One's own profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.auth.domain.users import User
from services.auth.ports import Ports
from services.auth.usecases.claims import claim
from services.chassis.errors import NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal


@dataclass(frozen=True, slots=True)
class UpdateMe:
    """What to change of the caller's profile, by field name; an etag where the caller minds what others changed."""

    changes: Mapping[str, str]
    etag: str = ""


async def get_me(ports: Ports, caller: Principal) -> User:
    """The caller's profile."""
    async with ports.work.unit(caller.tenant_id) as unit:
        user = await unit.users.get(caller.subject)
    if user is None:
        raise NotFound(resource="user")
    return user


async def update_me(ports: Ports, caller: Principal, command: UpdateMe, key: IdempotencyKey | None) -> User:
    """Change the caller's profile."""
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        claimed = await claim(unit, key, caller.subject, now)
        user = await unit.users.get(caller.subject, lock=True)
        if user is None:
            raise NotFound(resource="user")
        if not claimed.first:
            return user
        edited = user.edited(command.changes, command.etag, now)
        if edited is not user:
            await unit.users.save(edited)
    return edited
