"""Fakes of auth's ports: rows in dictionaries with real transactions, and quick stand-ins for slow hashes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.auth.domain.attempts import Attempt, Count
from services.auth.domain.challenges import Challenge
from services.auth.domain.facts import Fact
from services.auth.domain.keys import SigningKey
from services.auth.domain.rules import Rules
from services.auth.domain.sessions import AccessClaims, Session
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import User, email_key
from services.auth.ports import Claimed, Ports
from services.auth.store.secrets import MasterSecrets, Sealer
from services.auth.store.signing import Ed25519KeyMaker
from services.chassis.clock import FixedClock
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MASTER_KEY = bytes(range(32))


@dataclass
class State:
    """Every row."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    vendors: dict[tuple[str, str], datetime] = field(default_factory=dict)
    challenges: dict[str, Challenge] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    attempts: dict[tuple[str, Attempt, str], Count] = field(default_factory=dict)
    keys: dict[tuple[str, str, str, str], tuple[bytes, str, bytes | None]] = field(default_factory=dict)
    facts: list[tuple[str, Fact, int]] = field(default_factory=list)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)

    def draft(self) -> State:
        """A copy to work on: rows are values, so the collections are all that is copied."""
        return State(**{name: copy(value) for name, value in vars(self).items()})


class FakeTenants:
    """The tenants port."""

    def __init__(self, state: State) -> None:
        self._rows = state.tenants

    async def get(self, tenant_id: str, *, lock: bool = False) -> Tenant | None:
        return self._rows.get(tenant_id)

    async def by_slug(self, slug: str) -> Tenant | None:
        return next((tenant for tenant in self._rows.values() if tenant.slug == slug), None)

    async def page(self, after: str, size: int) -> list[Tenant]:
        return [self._rows[tenant_id] for tenant_id in sorted(self._rows) if tenant_id > after][:size]

    async def add(self, tenant: Tenant) -> bool:
        if await self.by_slug(tenant.slug) is not None:
            return False
        self._rows[tenant.tenant_id] = tenant
        return True

    async def save(self, tenant: Tenant) -> None:
        self._rows[tenant.tenant_id] = replace(self._rows[tenant.tenant_id], status=tenant.status)


class FakeUsers:
    """The users port."""

    def __init__(self, state: State, tenant_id: str) -> None:
        self._state = state
        self._tenant_id = tenant_id

    async def get(self, user_id: str, *, lock: bool = False) -> User | None:
        user = self._state.users.get(user_id)
        return user if user is not None and user.tenant_id == self._tenant_id else None

    async def by_email(self, address: str, *, lock: bool = False) -> User | None:
        mine = (user for user in self._state.users.values() if user.tenant_id == self._tenant_id)
        return next((user for user in mine if email_key(user.profile.email) == address), None)

    async def add(self, user: User, password_hash: str) -> None:
        self._state.users[user.user_id] = user
        self._state.hashes[user.user_id] = password_hash

    async def save(self, user: User) -> None:
        self._state.users[user.user_id] = user

    async def password_hash(self, user_id: str) -> str | None:
        return self._state.hashes.get(user_id) if await self.get(user_id) else None

    async def set_password_hash(self, user_id: str, password_hash: str) -> None:
        self._state.hashes[user_id] = password_hash

    async def grant_vendor(self, user_id: str, vendor_id: str, at: datetime) -> None:
        self._state.vendors.setdefault((user_id, vendor_id), at)

    async def vendors_of(self, user_id: str, most: int) -> list[str]:
        if await self.get(user_id) is None:
            return []
        mine = [(at, vendor) for (owner, vendor), at in self._state.vendors.items() if owner == user_id]
        return [vendor for _, vendor in sorted(mine, reverse=True)][:most]


class FakeChallenges:
    """The challenges port."""

    def __init__(self, state: State, tenant_id: str) -> None:
        self._rows = state.challenges
        self._tenant_id = tenant_id

    async def get(self, challenge_id: str) -> Challenge | None:
        challenge = self._rows.get(challenge_id)
        return challenge if challenge is not None and challenge.tenant_id == self._tenant_id else None

    async def latest(self, user_id: str) -> Challenge | None:
        return next(iter(self._open(user_id)), None)

    async def add(self, challenge: Challenge) -> None:
        self._rows[challenge.challenge_id] = challenge

    async def end(self, user_id: str, at: datetime) -> None:
        for challenge in self._open(user_id):
            self._rows[challenge.challenge_id] = replace(challenge, end_time=at)

    def _open(self, user_id: str) -> list[Challenge]:
        mine = [row for row in self._rows.values() if row.tenant_id == self._tenant_id and row.user_id == user_id]
        return [row for row in mine if row.end_time is None]


class FakeSessions:
    """The sessions port."""

    def __init__(self, state: State, tenant_id: str) -> None:
        self._rows = state.sessions
        self._tenant_id = tenant_id

    async def get(self, session_id: str) -> Session | None:
        session = self._rows.get(session_id)
        return session if session is not None and session.tenant_id == self._tenant_id else None

    async def add(self, session: Session) -> None:
        self._rows[session.session_id] = session

    async def save(self, session: Session) -> None:
        self._rows[session.session_id] = session


class FakeAttempts:
    """The attempts port."""

    def __init__(self, state: State, tenant_id: str) -> None:
        self._rows = state.attempts
        self._tenant_id = tenant_id

    async def add(self, attempt: Attempt, subject: str, window: timedelta, at: datetime) -> Count:
        key = (self._tenant_id, attempt, subject)
        before = self._rows.get(key)
        passed = before is None or before.window_start <= at - window
        self._rows[key] = Count(1, at) if before is None or passed else Count(before.count + 1, before.window_start)
        return self._rows[key]

    async def clear(self, attempt: Attempt, subject: str) -> None:
        self._rows.pop((self._tenant_id, attempt, subject), None)


class FakeKeys:
    """The idempotency-keys port."""

    def __init__(self, state: State) -> None:
        self._rows = state.keys

    async def claim(self, key: IdempotencyKey, resource_id: str, at: datetime) -> Claimed:
        found = self._rows.get(_name(key))
        if found is None:
            self._rows[_name(key)] = (key.request_hash, resource_id, None)
            return Claimed(resource_id, first=True)
        request_hash, first_resource_id, response = found
        if request_hash != key.request_hash:
            raise IdempotencyKeyReused
        return Claimed(first_resource_id, first=False, response=response)

    async def save_response(self, key: IdempotencyKey, response: bytes) -> None:
        request_hash, resource_id, _ = self._rows[_name(key)]
        self._rows[_name(key)] = (request_hash, resource_id, response)

    async def release(self, key: IdempotencyKey) -> None:
        self._rows.pop(_name(key), None)


def _name(key: IdempotencyKey) -> tuple[str, str, str, str]:
    return key.tenant_id, key.principal, key.method, key.key


class FakeFacts:
    """The facts port."""

    def __init__(self, state: State) -> None:
        self._rows = state.facts

    async def tell(self, user_id: str, fact: Fact, at: datetime) -> None:
        version = 1 + sum(1 for told, _, _ in self._rows if told == user_id)
        self._rows.append((user_id, fact, version))


class FakeUnit:
    """The unit port."""

    def __init__(self, state: State, tenant_id: str) -> None:
        self.tenants = FakeTenants(state)
        self.users = FakeUsers(state, tenant_id)
        self.challenges = FakeChallenges(state, tenant_id)
        self.sessions = FakeSessions(state, tenant_id)
        self.attempts = FakeAttempts(state, tenant_id)
        self.keys = FakeKeys(state)
        self.facts = FakeFacts(state)


class FakeSigningKeys:
    """The signing-keys port."""

    def __init__(self, state: State) -> None:
        self._rows = state.signing_keys

    async def all(self) -> list[SigningKey]:
        return list(self._rows.values())

    async def add(self, key: SigningKey) -> None:
        self._rows[key.key_id] = key

    async def hasten(self, key_id: str, sign_time: datetime) -> None:
        self._rows[key_id] = replace(self._rows[key_id], sign_time=sign_time)

    async def forget(self, key_ids: Sequence[str]) -> None:
        for key_id in key_ids:
            del self._rows[key_id]


class FakeWork:
    """The work port: one unit after the other, each all or nothing."""

    def __init__(self) -> None:
        self.state = State()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def _draft(self) -> AsyncIterator[State]:
        async with self._lock:
            draft = self.state.draft()
            yield draft
            self.state = draft

    @asynccontextmanager
    async def unit(self, tenant_id: str) -> AsyncIterator[FakeUnit]:
        async with self._draft() as draft:
            yield FakeUnit(draft, tenant_id)

    def platform(self, tenant_id: str):  # type: ignore[no-untyped-def]  # as the one above
        return self.unit(tenant_id)

    @asynccontextmanager
    async def rotation(self) -> AsyncIterator[FakeSigningKeys]:
        async with self._draft() as draft:
            yield FakeSigningKeys(draft)

    async def signing_keys(self) -> list[SigningKey]:
        return list(self.state.signing_keys.values())

    async def tenant_by_slug(self, slug: str) -> Tenant | None:
        return await FakeTenants(self.state).by_slug(slug)

    async def contact(self, tenant_id: str, user_id: str) -> tuple[User, Tenant] | None:
        unit = FakeUnit(self.state, tenant_id)
        user, tenant = await unit.users.get(user_id), await unit.tenants.get(tenant_id)
        return (user, tenant) if user is not None and tenant is not None else None

    async def purge(self, otps_before: datetime, sessions_before: datetime, attempts_before: datetime) -> int:
        async with self._draft() as draft:
            otps = [row.challenge_id for row in draft.challenges.values() if row.expire_time < otps_before]
            ended = [
                row.session_id
                for row in draft.sessions.values()
                if row.expire_time < sessions_before or (row.end_time is not None and row.end_time < sessions_before)
            ]
            attempts = [key for key, row in draft.attempts.items() if row.window_start < attempts_before]
            for challenge_id in otps:
                del draft.challenges[challenge_id]
            for session_id in ended:
                del draft.sessions[session_id]
            for key in attempts:
                del draft.attempts[key]
        return len(otps) + len(ended) + len(attempts)


class FakePasswords:
    """Hashes that anybody can read, counted: how often it was asked tells whether everybody waits equally long."""

    def __init__(self) -> None:
        self.parameters = "v1"
        self.hashed = 0
        self.verified = 0

    async def hash(self, password: str) -> str:
        self.hashed += 1
        return f"{self.parameters}:{password}"

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.verified += 1
        return password_hash is not None and password_hash.partition(":")[2] == password

    def is_dated(self, password_hash: str) -> bool:
        return password_hash.partition(":")[0] != self.parameters


class FakeSigner:
    """Tokens that are their claims."""

    def __init__(self) -> None:
        self.signed: list[AccessClaims] = []

    async def sign(self, claims: AccessClaims) -> str:
        self.signed.append(claims)
        return f"token:{claims.token_id}"


class World:
    """Auth on fakes, and what tests do with it over and over."""

    def __init__(self) -> None:
        self.clock = FixedClock(START)
        self.work = FakeWork()
        self.passwords = FakePasswords()
        self.secrets = MasterSecrets(MASTER_KEY)
        self.signer = FakeSigner()
        self.ports = Ports(
            clock=self.clock,
            work=self.work,
            passwords=self.passwords,
            secrets=self.secrets,
            signer=self.signer,
            key_maker=Ed25519KeyMaker(Sealer(MASTER_KEY, "signing key")),
            rules=Rules(),
        )
        self.tenant = Tenant(
            tenant_id=new_id("ten", at=START),
            slug="demo",
            display_name="Demo",
            status=TenantStatus.ACTIVE,
            create_time=START,
        )
        self.work.state.tenants[self.tenant.tenant_id] = self.tenant
        self.anybody = Principal("anonymous", self.tenant.tenant_id, "")

    @property
    def facts(self) -> list[Fact]:
        """Everything that was told."""
        return [fact for _, fact, _ in self.work.state.facts]

    def otp(self) -> str:
        """The code that was issued last."""
        challenge = list(self.work.state.challenges.values())[-1]
        return self.secrets.open_otp(challenge.challenge_id, challenge.sealed)

    def wrong_otp(self) -> str:
        """A code that is not the last one."""
        return f"{(int(self.otp()) + 1) % 1_000_000:06d}"

    def only_user(self) -> User:
        """The only person."""
        (user,) = self.work.state.users.values()
        return user

    def key(self, method: str, key: str = "k-1", body: bytes = b"body") -> IdempotencyKey:
        """An idempotency key of somebody anonymous."""
        return IdempotencyKey(self.tenant.tenant_id, "", method, key, body)
