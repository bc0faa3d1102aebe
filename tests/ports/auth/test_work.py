"""What auth's use cases rely on in its store: the same behaviour of the fake and of PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from services.auth.domain.attempts import Attempt
from services.auth.domain.challenges import Challenge, Purpose
from services.auth.domain.facts import OtpIssued
from services.auth.domain.keys import SigningKey
from services.auth.domain.roles import Role
from services.auth.domain.sessions import EndReason, Session
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import Profile, User, UserStatus, email_key
from services.auth.ports import Work
from services.auth.store.work import DatabaseWork
from services.auth.wire import outbox_event
from services.chassis.db import Database
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from tests.databases import NewDatabase
from tests.ports.auth.fakes import START, FakeWork

MINUTE = timedelta(minutes=1)


def a_tenant(slug: str = "demo") -> Tenant:
    return Tenant(
        tenant_id=new_id("ten", at=START),
        slug=slug,
        display_name=slug.title(),
        status=TenantStatus.ACTIVE,
        create_time=START,
    )


def a_user(tenant: Tenant, email: str = "Cara@Example.com") -> User:
    return User(
        user_id=new_id("usr", at=START),
        tenant_id=tenant.tenant_id,
        profile=Profile(email=email, first_name="Zoë \u202e", last_name="O'Hara", phone="+4940123456", locale="de-DE"),
        status=UserStatus.UNVERIFIED,
        roles=(Role.CUSTOMER,),
        create_time=START,
        update_time=START,
    )


def a_challenge(user: User) -> Challenge:
    return Challenge(
        challenge_id=new_id("otp", at=START),
        tenant_id=user.tenant_id,
        user_id=user.user_id,
        digest=b"\x00digest",
        sealed=b"\xffsealed",
        create_time=START,
        expire_time=START + 10 * MINUTE,
    )


def a_session(user: User) -> Session:
    return Session(
        session_id=new_id("ses", at=START),
        tenant_id=user.tenant_id,
        user_id=user.user_id,
        device_name="phone",
        salt=b"\x00salt",
        generation=1,
        create_time=START,
        rotate_time=START,
        expire_time=START + timedelta(days=30),
    )


def a_signing_key() -> SigningKey:
    return SigningKey(
        key_id=new_id("key", at=START), public="x", sealed=b"\x00", create_time=START, sign_time=START + MINUTE
    )


@pytest.fixture(params=["fake", "postgres"])
async def work(request: pytest.FixtureRequest) -> AsyncIterator[Work]:
    if request.param == "fake":
        yield FakeWork()
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    urls = new_database("auth")
    app, worker = Database(urls.app), Database(urls.worker)
    await app.open()
    await worker.open()
    yield DatabaseWork(app, worker, outbox_event)
    await app.close()
    await worker.close()


@pytest.fixture
async def tenant(work: Work) -> Tenant:
    return await opened(work, "demo")


@pytest.fixture
async def user(work: Work, tenant: Tenant) -> User:
    return await joined(work, tenant)


async def opened(work: Work, slug: str) -> Tenant:
    tenant = a_tenant(slug)
    async with work.platform(tenant.tenant_id) as unit:
        assert await unit.tenants.add(tenant)
    return tenant


async def joined(work: Work, tenant: Tenant, email: str = "Cara@Example.com") -> User:
    user = a_user(tenant, email)
    async with work.unit(tenant.tenant_id) as unit:
        await unit.users.add(user, "a hash")
    return user


async def test_tenants_are_found_and_listed(work: Work, tenant: Tenant) -> None:
    other = await opened(work, "harbour")
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.tenants.get(other.tenant_id) == other
        both = sorted([tenant, other], key=lambda found: found.tenant_id)
        assert await unit.tenants.page("", 5) == both
        assert await unit.tenants.page(both[0].tenant_id, 1) == both[1:]
    assert await work.tenant_by_slug("demo") == tenant
    assert await work.tenant_by_slug("harbour") == other
    assert await work.tenant_by_slug("nowhere") is None


async def test_a_contact_is_a_person_of_the_tenant_that_asks(work: Work, tenant: Tenant, user: User) -> None:
    other = await opened(work, "harbour")
    assert await work.contact(tenant.tenant_id, user.user_id) == (user, tenant)
    assert await work.contact(other.tenant_id, user.user_id) is None
    assert await work.contact(tenant.tenant_id, "usr_nobody") is None


async def test_a_slug_is_taken_once_and_a_status_moves(work: Work, tenant: Tenant) -> None:
    async with work.platform(tenant.tenant_id) as unit:
        assert not await unit.tenants.add(a_tenant("demo"))
        locked = await unit.tenants.get(tenant.tenant_id, lock=True)
        assert locked is not None
        await unit.tenants.save(locked.moved_to(TenantStatus.SUSPENDED))
    found = await work.tenant_by_slug("demo")
    assert found is not None
    assert found.status is TenantStatus.SUSPENDED


async def test_people_are_kept_as_they_are(work: Work, tenant: Tenant, user: User) -> None:
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.users.get(user.user_id) == user
        assert await unit.users.get(user.user_id, lock=True) == user
        assert await unit.users.by_email(email_key("CARA@example.COM")) == user
        assert await unit.users.by_email("nobody@example.com") is None
        assert await unit.users.password_hash(user.user_id) == "a hash"
        changed = user.verified(START + MINUTE).with_role(Role.VENDOR_OWNER, START + MINUTE)
        await unit.users.save(changed)
        await unit.users.set_password_hash(user.user_id, "another hash")
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.users.get(user.user_id) == changed
        assert await unit.users.password_hash(user.user_id) == "another hash"


async def test_a_unit_that_fails_leaves_nothing(work: Work, tenant: Tenant) -> None:
    user = a_user(tenant)

    async def fail() -> None:
        async with work.unit(tenant.tenant_id) as unit:
            await unit.users.add(user, "a hash")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        await fail()
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.users.get(user.user_id) is None


async def test_nothing_is_seen_from_another_tenant(work: Work, tenant: Tenant, user: User) -> None:
    other = await opened(work, "harbour")
    challenge, session = a_challenge(user), a_session(user)
    async with work.unit(tenant.tenant_id) as unit:
        await unit.challenges.add(challenge)
        await unit.sessions.add(session)
        await unit.users.grant_vendor(user.user_id, "vnd_1", START)
        await unit.attempts.add(Attempt.LOGIN, "subject", MINUTE, START)
    same_address = await joined(work, other)
    async with work.unit(other.tenant_id) as unit:
        assert await unit.users.get(user.user_id) is None
        assert await unit.users.by_email("cara@example.com") == same_address
        assert await unit.users.password_hash(user.user_id) is None
        assert await unit.users.vendors_of(user.user_id, 5) == []
        assert await unit.challenges.get(challenge.challenge_id) is None
        assert await unit.challenges.latest(user.user_id) is None
        assert await unit.sessions.get(session.session_id) is None
        assert (await unit.attempts.add(Attempt.LOGIN, "subject", MINUTE, START)).count == 1


async def test_vendors_latest_first(work: Work, tenant: Tenant, user: User) -> None:
    async with work.unit(tenant.tenant_id) as unit:
        for number in (1, 3, 2):
            await unit.users.grant_vendor(user.user_id, f"vnd_{number}", START + number * MINUTE)
        await unit.users.grant_vendor(user.user_id, "vnd_1", START + 9 * MINUTE)
        assert await unit.users.vendors_of(user.user_id, 2) == ["vnd_3", "vnd_2"]


async def test_a_person_has_one_open_code(work: Work, tenant: Tenant, user: User) -> None:
    first, second = a_challenge(user), a_challenge(user)
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.challenges.latest(user.user_id) is None
        await unit.challenges.add(first)
        assert await unit.challenges.latest(user.user_id) == first
        await unit.challenges.end(user.user_id, START + MINUTE)
        await unit.challenges.add(second)
    async with work.unit(tenant.tenant_id) as unit:
        assert await unit.challenges.latest(user.user_id) == second
        assert await unit.challenges.get(first.challenge_id) == replace(first, end_time=START + MINUTE)


async def test_sessions_are_kept_as_they_are(work: Work, tenant: Tenant, user: User) -> None:
    session = a_session(user)
    async with work.unit(tenant.tenant_id) as unit:
        await unit.sessions.add(session)
        assert await unit.sessions.get(session.session_id) == session
        rotated = replace(session, generation=2, rotate_time=START + MINUTE, expire_time=START + timedelta(days=31))
        await unit.sessions.save(rotated)
        assert await unit.sessions.get(session.session_id) == rotated
        ended = rotated.ended(EndReason.LOGOUT, START + 2 * MINUTE)
        await unit.sessions.save(ended)
        assert await unit.sessions.get(session.session_id) == ended
        assert await unit.sessions.get(new_id("ses", at=START)) is None


async def test_attempts_count_within_their_window(work: Work, tenant: Tenant) -> None:
    async with work.unit(tenant.tenant_id) as unit:
        counts = [await unit.attempts.add(Attempt.LOGIN, "a", MINUTE, START + step * MINUTE / 4) for step in range(6)]
        assert [(count.count, count.window_start) for count in counts] == [
            *((number, START) for number in (1, 2, 3, 4)),
            (1, START + MINUTE),
            (2, START + MINUTE),
        ]
        assert (await unit.attempts.add(Attempt.LOGIN, "b", MINUTE, START)).count == 1
        assert (await unit.attempts.add(Attempt.OTP_GUESS, "a", MINUTE, START)).count == 1
        await unit.attempts.clear(Attempt.LOGIN, "a")
        assert (await unit.attempts.add(Attempt.LOGIN, "a", MINUTE, START + MINUTE)).count == 1


async def test_parallel_attempts_are_all_counted(work: Work, tenant: Tenant) -> None:
    async def attempt() -> int:
        async with work.unit(tenant.tenant_id) as unit:
            return (await unit.attempts.add(Attempt.LOGIN, "a", MINUTE, START)).count

    assert sorted(await asyncio.gather(*(attempt() for _ in range(20)))) == list(range(1, 21))


async def test_keys_are_claimed_once_and_can_be_given_back(work: Work, tenant: Tenant) -> None:
    key = IdempotencyKey(tenant.tenant_id, "", "/Register", "k", b"hash")
    async with work.unit(tenant.tenant_id) as unit:
        assert (await unit.keys.claim(key, "first", START)).first
        await unit.keys.save_response(key, b"answer")
    async with work.unit(tenant.tenant_id) as unit:
        again = await unit.keys.claim(key, "second", START)
        assert (again.first, again.resource_id, again.response) == (False, "first", b"answer")
        await unit.keys.release(key)
        assert (await unit.keys.claim(key, "third", START)).first
    with pytest.raises(IdempotencyKeyReused):
        async with work.unit(tenant.tenant_id) as unit:
            await unit.keys.claim(replace(key, request_hash=b"other"), "fourth", START)


async def test_facts_can_be_told(work: Work, tenant: Tenant, user: User) -> None:
    async with work.unit(tenant.tenant_id) as unit:
        for _ in range(2):
            issued = OtpIssued(user.user_id, "", Purpose.ALREADY_REGISTERED, START)
            await unit.facts.tell(user.user_id, issued, START)


async def test_signing_keys_come_change_and_go(work: Work) -> None:
    one, two = a_signing_key(), a_signing_key()
    async with work.rotation() as keys:
        await keys.add(one)
        await keys.add(two)
        await keys.hasten(two.key_id, START)
        await keys.forget([one.key_id])
        assert await keys.all() == [replace(two, sign_time=START)]
    assert await work.signing_keys() == [replace(two, sign_time=START)]


async def test_rotations_come_one_after_the_other(work: Work) -> None:
    async def add_the_first() -> None:
        async with work.rotation() as keys:
            if not await keys.all():
                await keys.add(a_signing_key())

    await asyncio.gather(*(add_the_first() for _ in range(5)))
    assert len(await work.signing_keys()) == 1


async def test_purging_takes_what_ended_and_leaves_the_rest(work: Work, tenant: Tenant, user: User) -> None:
    sessions = [a_session(user) for _ in range(3)]
    async with work.unit(tenant.tenant_id) as unit:
        await unit.challenges.add(a_challenge(user))
        for session in sessions:
            await unit.sessions.add(session)
        await unit.sessions.save(sessions[1].ended(EndReason.REUSE, START))
        await unit.sessions.save(replace(sessions[2], expire_time=START))
        await unit.attempts.add(Attempt.LOGIN, "a", MINUTE, START)
    assert await work.purge(START, START, START) == 0
    later = START + MINUTE
    assert await work.purge(later, later, later) == 3, "two sessions and a count"
    assert await work.purge(START + 11 * MINUTE, START, START) == 1, "the code"
    async with work.unit(tenant.tenant_id) as unit:
        found = [await unit.sessions.get(session.session_id) for session in sessions]
    assert found == [sessions[0], None, None]
