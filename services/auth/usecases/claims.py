"""Idempotency keys as auth's use cases use them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.auth.ports import Claimed, Ports, Unit
from services.chassis.idempotency.key import IdempotencyKey


async def claim(unit: Unit, key: IdempotencyKey | None, resource_id: str, at: datetime) -> Claimed:
    """Claim the key for what the call makes; a call without one is always the first."""
    if key is None:
        return Claimed(resource_id, first=True)
    return await unit.keys.claim(key, resource_id, at)


def of_subject(ports: Ports, key: IdempotencyKey | None, subject: str) -> IdempotencyKey | None:
    """A key of somebody anonymous: their own by the address they speak of, and no digest of a password is kept.

    All anonymous callers are one principal; without the address, two that both count from 1 would meet.
    """
    if key is None:
        return None
    return replace(key, principal=f"{key.principal}:{subject}", request_hash=ports.secrets.blinded(key.request_hash))
