"""Signing keys: which one signs, which are published, and what rotation makes and forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest

from services.auth.domain.rules import KeyRules


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key pair; its private half is sealed."""

    key_id: str
    public: str  # base64url, as the key set shows it
    sealed: bytes
    create_time: datetime
    sign_time: datetime  # when it takes over from the one before


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is to be done now: new keys by the time they take over, and keys to forget."""

    create: tuple[datetime, ...]
    forget: tuple[str, ...]


def signing(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs now: the one that took over last."""
    begun = [key for key in keys if key.sign_time <= now]
    return max(begun, key=_order) if begun else None


def published(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> list[SigningKey]:
    """The keys that a valid token may name, and the next one, oldest first."""
    ordered = sorted(keys, key=_order)
    successors = zip_longest(ordered, ordered[1:])
    return [key for key, successor in successors if successor is None or now < successor.sign_time + rules.keep]


def rotation(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> Rotation:
    """Keep one key that signs and one that waits; forget those that no living token names."""
    current = signing(keys, now)
    create: list[datetime] = []
    if current is None:
        create.append(now)
    if not any(key.sign_time > now for key in keys):
        begun = current.sign_time if current is not None else now
        create.append(max(begun + rules.period, now + rules.lead))
    kept = {key.key_id for key in published(keys, now, rules)}
    return Rotation(tuple(create), tuple(key.key_id for key in keys if key.key_id not in kept))


def hastened(keys: Sequence[SigningKey], now: datetime, rules: KeyRules) -> tuple[SigningKey, datetime] | None:
    """The waiting key and the earliest time it may take over: once everybody has had time to learn it."""
    waiting = [key for key in keys if key.sign_time > now]
    if not waiting:
        return None
    following = min(waiting, key=_order)
    return following, min(following.sign_time, max(now, following.create_time + rules.lead))


def _order(key: SigningKey) -> tuple[datetime, str]:
    return key.sign_time, key.key_id
