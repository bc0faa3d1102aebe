"""Logging in, refreshing, logging out: who gets tokens, what they say, and what using one twice does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from services.auth.domain.errors import (
    AccountSuspended,
    CredentialsInvalid,
    EmailNotVerified,
    RefreshTokenInvalid,
    RefreshTokenReused,
    TooManyAttempts,
)
from services.auth.domain.sessions import MAX_VENDORS_IN_TOKEN, EndReason
from services.auth.domain.tenants import TenantStatus
from services.auth.domain.users import Profile, UserStatus
from services.auth.usecases.directory import grant_vendor
from services.auth.usecases.registration import Register, VerifyEmail, register, verify_email
from services.auth.usecases.sessions import Login, Tokens, login, logout, refresh
from services.auth.usecases.tenants import move_tenant
from services.chassis.errors import TenantUnknown
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.ports.auth.fakes import START, World

EMAIL = "cara@example.com"
PASSWORD = "harbour-lights-42"


@pytest.fixture
async def world() -> World:
    world = World()
    profile = Profile(email=EMAIL, first_name="Cara", last_name="Customer")
    await register(world.ports, world.anybody, Register(profile, PASSWORD), None)
    return world


@pytest.fixture
async def verified(world: World) -> World:
    await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), None)
    return world


async def logged_in(world: World, password: str = PASSWORD, email: str = EMAIL) -> Tokens:
    tokens, _ = await login(world.ports, world.anybody, Login(email, password, "Cara's phone"))
    return tokens


async def test_a_session_with_its_tokens(verified: World) -> None:
    tokens = await logged_in(verified, email="CARA@example.com")
    (session,) = verified.work.state.sessions.values()
    (claims,) = verified.signer.signed
    assert session.device_name == "Cara's phone"
    assert tokens.access_expire_time == START + timedelta(minutes=5)
    assert tokens.refresh_expire_time == START + timedelta(days=30)
    assert claims.user_id == verified.only_user().user_id
    assert claims.tenant_id == verified.tenant.tenant_id
    assert "bookings.create" in claims.permissions
    assert "tenants.manage" not in claims.permissions
    assert tokens.refresh_token.rpartition(".")[2] not in repr(session)


async def test_who_is_wrong_and_what_is_wrong_looks_the_same(verified: World) -> None:
    with pytest.raises(CredentialsInvalid) as wrong_password:
        await logged_in(verified, password="not the password")
    with pytest.raises(CredentialsInvalid) as wrong_email:
        await logged_in(verified, email="nobody@example.com")
    assert str(wrong_password.value) == str(wrong_email.value)
    assert verified.passwords.verified == 2


async def test_only_the_right_password_hears_that_the_address_is_not_verified(world: World) -> None:
    with pytest.raises(EmailNotVerified):
        await logged_in(world)
    with pytest.raises(CredentialsInvalid):
        await logged_in(world, password="not the password")


async def test_the_suspended_may_not_log_in_nor_refresh(verified: World) -> None:
    tokens = await logged_in(verified)
    user = replace(verified.only_user(), status=UserStatus.SUSPENDED)
    verified.work.state.users[user.user_id] = user
    with pytest.raises(AccountSuspended):
        await logged_in(verified)
    with pytest.raises(AccountSuspended):
        await refresh(verified.ports, verified.anybody, tokens.refresh_token)


async def test_nobody_of_a_suspended_tenant_logs_in_or_refreshes(verified: World) -> None:
    tokens = await logged_in(verified)
    await move_tenant(verified.ports, verified.anybody, verified.tenant.tenant_id, TenantStatus.SUSPENDED, None)
    with pytest.raises(TenantUnknown):
        await logged_in(verified)
    with pytest.raises(TenantUnknown):
        await refresh(verified.ports, verified.anybody, tokens.refresh_token)
    await move_tenant(verified.ports, verified.anybody, verified.tenant.tenant_id, TenantStatus.ACTIVE, None)
    await refresh(verified.ports, verified.anybody, tokens.refresh_token)


async def test_attempts_are_limited_whether_or_not_there_is_an_account(verified: World) -> None:
    for email in (EMAIL, "nobody@example.com"):
        for _ in range(10):
            with pytest.raises(CredentialsInvalid):
                await logged_in(verified, password="not the password", email=email)
        hashed = verified.passwords.verified
        with pytest.raises(TooManyAttempts) as refused:
            await logged_in(verified, email=email)
        assert refused.value.retry_after == timedelta(minutes=15)
        assert verified.passwords.verified == hashed, "a refused attempt costs no hash"
    verified.clock.advance(timedelta(minutes=15))
    await logged_in(verified)


async def test_attempts_are_counted_before_they_are_checked(verified: World) -> None:
    attempts = (logged_in(verified, password="not the password") for _ in range(100))
    refusals = [type(refusal) for refusal in await asyncio.gather(*attempts, return_exceptions=True)]
    assert refusals.count(CredentialsInvalid) == 10


async def test_the_right_password_forgets_the_wrong_ones(verified: World) -> None:
    for _ in range(3):
        for _ in range(9):
            with pytest.raises(CredentialsInvalid):
                await logged_in(verified, password="not the password")
        await logged_in(verified)


async def test_a_dated_hash_is_renewed(verified: World) -> None:
    verified.passwords.parameters = "v2"
    await logged_in(verified)
    assert list(verified.work.state.hashes.values()) == [f"v2:{PASSWORD}"]
    await logged_in(verified)
    assert verified.passwords.hashed == 2


async def test_refreshing_gives_the_next_pair_for_another_thirty_days(verified: World) -> None:
    first = await logged_in(verified)
    verified.clock.advance(timedelta(days=29))
    second = await refresh(verified.ports, verified.anybody, first.refresh_token)
    assert second.refresh_token != first.refresh_token
    assert second.refresh_expire_time == START + timedelta(days=59)
    verified.clock.advance(timedelta(days=30))
    with pytest.raises(RefreshTokenInvalid):
        await refresh(verified.ports, verified.anybody, second.refresh_token)


async def test_a_lost_answer_is_given_again(verified: World) -> None:
    first = await logged_in(verified)
    verified.clock.advance(timedelta(minutes=4))
    second = await refresh(verified.ports, verified.anybody, first.refresh_token)
    verified.clock.advance(timedelta(seconds=10))
    assert await refresh(verified.ports, verified.anybody, first.refresh_token) == second


async def test_fifty_parallel_refreshes_get_one_pair(verified: World) -> None:
    first = await logged_in(verified)
    refreshes = (refresh(verified.ports, verified.anybody, first.refresh_token) for _ in range(50))
    assert len(set(await asyncio.gather(*refreshes))) == 1


async def test_a_spent_token_ends_the_session_for_both(verified: World) -> None:
    first = await logged_in(verified)
    second = await refresh(verified.ports, verified.anybody, first.refresh_token)
    verified.clock.advance(timedelta(seconds=11))
    with pytest.raises(RefreshTokenReused):
        await refresh(verified.ports, verified.anybody, first.refresh_token)
    for spent in (first, second):
        with pytest.raises(RefreshTokenInvalid):
            await refresh(verified.ports, verified.anybody, spent.refresh_token)
    (session,) = verified.work.state.sessions.values()
    assert session.end_reason is EndReason.REUSE


async def test_once_the_successor_is_used_the_answer_was_not_lost(verified: World) -> None:
    first = await logged_in(verified)
    second = await refresh(verified.ports, verified.anybody, first.refresh_token)
    await refresh(verified.ports, verified.anybody, second.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await refresh(verified.ports, verified.anybody, first.refresh_token)


async def test_a_token_says_what_the_person_is_now(verified: World) -> None:
    first = await logged_in(verified)
    vendor_ids = [new_id("vnd", at=START) for _ in range(MAX_VENDORS_IN_TOKEN + 1)]
    service = Principal("service", verified.tenant.tenant_id, "inventory")
    for vendor_id in vendor_ids:
        verified.clock.advance(timedelta(seconds=1))
        await grant_vendor(verified.ports, service, verified.only_user().user_id, vendor_id)
    await refresh(verified.ports, verified.anybody, first.refresh_token)
    claims = verified.signer.signed[-1]
    assert "vendors.manage" in claims.permissions
    assert list(claims.vendor_ids) == vendor_ids[:0:-1], "the newest ones"


def _forgeries(token: str) -> list[str]:
    session_id, generation, proof = token.split(".")
    flipped = ("B" if proof[0] == "A" else "A") + proof[1:]
    return [
        "",
        "x" * 512,
        f"{token}\n",
        f"{token}\x00",
        f"{session_id}.{generation}.{flipped}",
        f"{session_id}.{int(generation) + 1}.{proof}",
        f"{session_id}.0.{proof}",
        f"{session_id}.-1.{proof}",
        f"{session_id}.１.{proof}",
        f"{new_id('ses', at=START)}.{generation}.{proof}",
        f"{session_id}.999999999.{proof}",
    ]


async def test_forged_tokens_are_refused_and_end_nothing(verified: World) -> None:
    tokens = await logged_in(verified)
    for forged in _forgeries(tokens.refresh_token):
        with pytest.raises(RefreshTokenInvalid):
            await refresh(verified.ports, verified.anybody, forged)
        await logout(verified.ports, verified.anybody, forged)
    await refresh(verified.ports, verified.anybody, tokens.refresh_token)


async def test_a_token_is_nothing_in_another_tenant(verified: World) -> None:
    tokens = await logged_in(verified)
    elsewhere = World().anybody
    await logout(verified.ports, elsewhere, tokens.refresh_token)
    with pytest.raises(RefreshTokenInvalid):
        await refresh(verified.ports, elsewhere, tokens.refresh_token)
    await refresh(verified.ports, verified.anybody, tokens.refresh_token)


async def test_logging_out_takes_any_token_of_the_session_any_number_of_times(verified: World) -> None:
    first = await logged_in(verified)
    second = await refresh(verified.ports, verified.anybody, first.refresh_token)
    for _ in range(2):
        await logout(verified.ports, verified.anybody, first.refresh_token)
    with pytest.raises(RefreshTokenInvalid):
        await refresh(verified.ports, verified.anybody, second.refresh_token)
    (session,) = verified.work.state.sessions.values()
    assert session.end_reason is EndReason.LOGOUT
