"""What auth's use cases need of the world: rows, secrets, hashes, signatures and the time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.auth.domain.attempts import Attempt, Count
from services.auth.domain.challenges import Challenge
from services.auth.domain.facts import Fact
from services.auth.domain.keys import SigningKey
from services.auth.domain.rules import Rules
from services.auth.domain.sessions import AccessClaims, Session
from services.auth.domain.tenants import Tenant
from services.auth.domain.users import User
from services.chassis.clock import Clock
from services.chassis.idempotency.key import IdempotencyKey


class Tenants(Protocol):
    """The directory of tenants."""

    async def get(self, tenant_id: str, *, lock: bool = False) -> Tenant | None:
        """One tenant; locked until the unit ends where it is to be changed."""

    async def page(self, after: str, size: int) -> list[Tenant]:
        """Tenants in the order of their ids, from the first one past `after`."""

    async def add(self, tenant: Tenant) -> bool:
        """Store a new tenant; False when its slug is taken."""

    async def save(self, tenant: Tenant) -> None:
        """Store a tenant's status."""


class Users(Protocol):
    """The tenant's people, their passwords and the vendors they own."""

    async def get(self, user_id: str, *, lock: bool = False) -> User | None:
        """One person; locked until the unit ends where it is to be changed."""

    async def by_email(self, email_key: str, *, lock: bool = False) -> User | None:
        """The person that has the address."""

    async def add(self, user: User, password_hash: str) -> None:
        """Store a new person with their password's hash."""

    async def save(self, user: User) -> None:
        """Store what changed of a person."""

    async def password_hash(self, user_id: str) -> str | None:
        """The hash of the person's password, for those who have one."""

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        """Replace the hash of the person's password."""

    async def grant_vendor(self, user_id: str, vendor_id: str, at: datetime) -> None:
        """Note that the person owns the vendor; noted before is fine."""

    async def vendors_of(self, user_id: str, most: int) -> list[str]:
        """The vendors that the person owns, the latest first."""


class Challenges(Protocol):
    """The tenant's codes."""

    async def get(self, challenge_id: str) -> Challenge | None:
        """One code."""

    async def latest(self, user_id: str) -> Challenge | None:
        """The person's latest code that was neither used nor replaced, locked until the unit ends."""

    async def add(self, challenge: Challenge) -> None:
        """Store a new code."""

    async def end(self, user_id: str, at: datetime) -> None:
        """Make all the person's codes void."""


class Sessions(Protocol):
    """The tenant's sessions."""

    async def get(self, session_id: str) -> Session | None:
        """One session, locked until the unit ends: its chain of tokens has one end."""

    async def add(self, session: Session) -> None:
        """Store a new session."""

    async def save(self, session: Session) -> None:
        """Store what changed of a session."""


class Attempts(Protocol):
    """Counted attempts; they outlive restarts and every cache."""

    async def add(self, attempt: Attempt, subject: str, window: timedelta, at: datetime) -> Count:
        """Count one attempt, in a new window when the last one has passed; others of the subject wait for the unit."""

    async def clear(self, attempt: Attempt, subject: str) -> None:
        """Forget the subject's attempts."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """An idempotency key's use: `first` where this call is the first; else what the first one made and answered."""

    resource_id: str
    first: bool
    response: bytes | None = None


class Keys(Protocol):
    """The idempotency keys that calls were made with."""

    async def claim(self, key: IdempotencyKey, resource_id: str, at: datetime) -> Claimed:
        """Claim a key for what the call makes; waits for another call with the same key."""

    async def save_response(self, key: IdempotencyKey, response: bytes) -> None:
        """Keep what was answered."""

    async def release(self, key: IdempotencyKey) -> None:
        """Give the key back: the call was refused and made nothing, but the unit has something else to keep."""


class Facts(Protocol):
    """What the other services are told, once the unit is committed."""

    async def tell(self, user_id: str, fact: Fact, at: datetime) -> None:
        """Tell a fact about a person, after all earlier ones about them."""


class Unit(Protocol):
    """One transaction within a tenant; it commits when its block ends well."""

    @property
    def tenants(self) -> Tenants: ...
    @property
    def users(self) -> Users: ...
    @property
    def challenges(self) -> Challenges: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def keys(self) -> Keys: ...
    @property
    def facts(self) -> Facts: ...


class SigningKeys(Protocol):
    """The signing keys, in a unit that nobody else changes them in."""

    async def all(self) -> list[SigningKey]:
        """Every key."""

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""

    async def hasten(self, key_id: str, sign_time: datetime) -> None:
        """Have a waiting key take over at another time."""

    async def forget(self, key_ids: Sequence[str]) -> None:
        """Delete keys."""


class Work(Protocol):
    """Opens units of work."""

    def unit(self, tenant_id: str) -> AbstractAsyncContextManager[Unit]:
        """A unit that sees and writes one tenant's rows, and may look up tenants."""

    def platform(self, tenant_id: str) -> AbstractAsyncContextManager[Unit]:
        """A unit of a platform administrator, who belongs to `tenant_id`: it may also write tenants."""

    def rotation(self) -> AbstractAsyncContextManager[SigningKeys]:
        """A unit for the signing keys; others that want one wait for its end."""

    async def signing_keys(self) -> list[SigningKey]:
        """Every signing key, to read."""

    async def tenant_by_slug(self, slug: str) -> Tenant | None:
        """The tenant that has the slug, in one round trip."""

    async def contact(self, tenant_id: str, user_id: str) -> tuple[User, Tenant] | None:
        """One of the tenant's people, and the tenant, in one round trip."""

    async def purge(self, otps_before: datetime, sessions_before: datetime, attempts_before: datetime) -> int:
        """Delete one batch of each of what ended before these times; how many rows went."""


class Passwords(Protocol):
    """Slow hashes of passwords; the event loop lives on meanwhile."""

    async def hash(self, password: str) -> str:
        """A new hash."""

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether they belong together; without a hash it takes as long and says no."""

    def is_dated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than new ones are."""


class Secrets(Protocol):
    """Draws, seals and digests what must not be readable in the database."""

    def draw_otp(self) -> str:
        """Six random digits."""

    def draw_salt(self) -> bytes:
        """What makes a session's tokens its own."""

    def otp_digest(self, challenge_id: str, otp: str) -> bytes:
        """What a guess is compared by; useless without the master key."""

    def seal_otp(self, challenge_id: str, otp: str) -> bytes:
        """The code, readable again by this service only and for this challenge only."""

    def open_otp(self, challenge_id: str, sealed: bytes) -> str:
        """The code again."""

    def refresh_proof(self, session: Session, generation: int) -> str:
        """The proof of one of the session's refresh tokens."""

    def subject(self, tenant_id: str, email_key: str) -> str:
        """An address as attempts are counted by: not the address."""

    def blinded(self, digest: bytes) -> bytes:
        """A digest that nobody can try passwords against."""


class Signer(Protocol):
    """Signs access tokens."""

    async def sign(self, claims: AccessClaims) -> str:
        """The token."""


class KeyMaker(Protocol):
    """Makes signing keys."""

    def make(self, now: datetime, sign_time: datetime) -> SigningKey:
        """A new key pair that takes over at `sign_time`."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a use case may reach, handed in by the composition root."""

    clock: Clock
    work: Work
    passwords: Passwords
    secrets: Secrets
    signer: Signer
    key_maker: KeyMaker
    rules: Rules
