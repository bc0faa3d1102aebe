"""Signing keys: publishing, rotating, hastening."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.auth.domain.keys import SigningKey, hastened, published, rotation
from services.auth.ports import Ports
from services.chassis.errors import DependencyUnavailable


async def published_keys(ports: Ports) -> list[SigningKey]:
    """The keys whose public halves verifiers need."""
    keys = published(await ports.work.signing_keys(), ports.clock.now(), ports.rules.keys)
    if not keys:
        # An empty set would be remembered by those who ask, as if every token were forged.
        raise DependencyUnavailable("There is no signing key yet.", retry_after=timedelta(seconds=1))
    return keys


async def rotate_keys(ports: Ports) -> int:
    """Have one key that signs and one that waits, and forget those that no living token names; how many changed."""
    now = ports.clock.now()
    async with ports.work.rotation() as keys:
        due = rotation(await keys.all(), now, ports.rules.keys)
        for sign_time in due.create:
            await keys.add(ports.key_maker.make(now, sign_time))
        if due.forget:
            await keys.forget(due.forget)
    return len(due.create) + len(due.forget)


async def hasten_rotation(ports: Ports) -> datetime | None:
    """Have the waiting key take over as soon as everybody knows it; when that is, or None where no key waits."""
    async with ports.work.rotation() as keys:
        found = hastened(await keys.all(), ports.clock.now(), ports.rules.keys)
        if found is None:
            return None
        key, sign_time = found
        await keys.hasten(key.key_id, sign_time)
    return sign_time
