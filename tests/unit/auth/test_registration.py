"""Registering and verifying: what anybody may learn, what is counted, what is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from services.auth.domain.challenges import Purpose
from services.auth.domain.errors import OtpInvalid, PasswordTooWeak, TooManyAttempts
from services.auth.domain.facts import OtpIssued, UserRegistered, UserVerified
from services.auth.domain.users import Profile, UserStatus
from services.auth.usecases.registration import Register, ResendOtp, VerifyEmail, register, resend_otp, verify_email
from services.chassis.errors import IdempotencyKeyReused, InvalidField
from tests.ports.auth.fakes import START, World

EMAIL = "Cara@example.com"
PASSWORD = "harbour-lights-42"


def cara(email: str = EMAIL, password: str = PASSWORD, first_name: str = "Cara") -> Register:
    return Register(Profile(email=email, first_name=first_name, last_name="Customer"), password)


@pytest.fixture
def world() -> World:
    return World()


async def registered(world: World) -> None:
    await register(world.ports, world.anybody, cara(), None)


async def verified(world: World) -> None:
    await registered(world)
    await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), None)


async def test_registers_and_tells(world: World) -> None:
    ends = await register(world.ports, world.anybody, cara(), None)
    user = world.only_user()
    assert ends == START + timedelta(minutes=10)
    assert user.status is UserStatus.UNVERIFIED
    assert [type(fact) for fact in world.facts] == [UserRegistered, OtpIssued]
    assert [version for _, _, version in world.work.state.facts] == [1, 2]
    assert len(world.otp()) == 6
    for fact in world.facts:
        assert EMAIL not in repr(fact)
        assert world.otp() not in repr(fact).replace(user.user_id, "")


async def test_nothing_stored_reads_as_the_code(world: World) -> None:
    await registered(world)
    (challenge,) = world.work.state.challenges.values()
    assert world.otp().encode() not in challenge.sealed
    assert world.otp().encode() not in challenge.digest


async def test_a_verified_address_gets_the_same_answer_after_the_same_work(world: World) -> None:
    await verified(world)
    before = world.passwords.hashed
    ends = await register(world.ports, world.anybody, cara(email=EMAIL.upper()), None)
    assert ends == START + timedelta(minutes=10)
    assert world.passwords.hashed == before + 1
    known = world.facts[-1]
    assert isinstance(known, OtpIssued)
    assert (known.purpose, known.challenge_id) == (Purpose.ALREADY_REGISTERED, "")
    assert world.only_user().profile.email == EMAIL
    assert world.work.state.hashes[world.only_user().user_id] == f"v1:{PASSWORD}"


async def test_before_verification_the_last_to_register_counts(world: World) -> None:
    await register(world.ports, world.anybody, cara(password="squatters-secret"), None)
    first = world.otp()
    await register(world.ports, world.anybody, cara(first_name="Carola"), None)
    user = world.only_user()
    assert user.profile.first_name == "Carola"
    assert world.work.state.hashes[user.user_id] == f"v1:{PASSWORD}"
    assert sum(isinstance(fact, UserRegistered) for fact in world.facts) == 1
    if first != world.otp():
        with pytest.raises(OtpInvalid):
            await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, first), None)


async def test_same_address_in_another_tenant_is_another_person(world: World) -> None:
    await registered(world)
    other = World()
    await register(world.ports, other.anybody, cara(), None)
    assert len(world.work.state.users) == 2


@pytest.mark.parametrize("password", ["password123", "QwertyUiop", "cara@example.com!", "xxCARA@EXAMPLE.COM"])
async def test_first_guesses_are_refused_as_passwords(world: World, password: str) -> None:
    with pytest.raises(PasswordTooWeak) as refused:
        await register(world.ports, world.anybody, cara(password=password), None)
    assert password not in str(refused.value)
    assert world.work.state.users == {}


async def test_a_name_of_spaces_is_refused(world: World) -> None:
    with pytest.raises(InvalidField) as refused:
        await register(world.ports, world.anybody, cara(first_name="   "), None)
    assert [violation.field for violation in refused.value.violations] == ["first_name"]


async def test_codes_per_hour_are_limited_for_known_and_unknown_alike(world: World) -> None:
    for _ in range(5):
        await registered(world)
    with pytest.raises(TooManyAttempts) as refused:
        await registered(world)
    assert refused.value.retry_after == timedelta(hours=1)
    for _ in range(5):
        await resend_otp(world.ports, world.anybody, ResendOtp("nobody@example.com"), None)
        world.clock.advance(timedelta(seconds=30))
    with pytest.raises(TooManyAttempts):
        await resend_otp(world.ports, world.anybody, ResendOtp("nobody@example.com"), None)
    world.clock.advance(timedelta(hours=1))
    await registered(world)


async def test_a_key_gives_the_same_answer_and_one_mail(world: World) -> None:
    key = world.key("/Register")
    first = await register(world.ports, world.anybody, cara(), key)
    world.clock.advance(timedelta(seconds=5))
    assert await register(world.ports, world.anybody, cara(), key) == first
    assert sum(isinstance(fact, OtpIssued) for fact in world.facts) == 1


async def test_fifty_races_with_one_key_register_once(world: World) -> None:
    key = world.key("/Register")
    answers = await asyncio.gather(*(register(world.ports, world.anybody, cara(), key) for _ in range(50)))
    assert len(set(answers)) == 1
    assert sum(isinstance(fact, OtpIssued) for fact in world.facts) == 1


async def test_a_key_with_another_body_is_refused(world: World) -> None:
    await register(world.ports, world.anybody, cara(), world.key("/Register"))
    with pytest.raises(IdempotencyKeyReused):
        await register(world.ports, world.anybody, cara(first_name="Eve"), world.key("/Register", body=b"other"))


async def test_two_people_may_use_the_same_key(world: World) -> None:
    await register(world.ports, world.anybody, cara(), world.key("/Register"))
    await register(world.ports, world.anybody, cara(email="eve@example.com"), world.key("/Register", body=b"other"))
    assert len(world.work.state.users) == 2


async def test_the_stored_key_digests_no_password(world: World) -> None:
    await register(world.ports, world.anybody, cara(), world.key("/Register", body=b"fast hash of a password"))
    ((request_hash, _, _),) = world.work.state.keys.values()
    assert request_hash != b"fast hash of a password"


async def test_verifies_once(world: World) -> None:
    await registered(world)
    otp = world.otp()
    user = await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL.lower(), otp), None)
    assert user.status is UserStatus.ACTIVE
    assert isinstance(world.facts[-1], UserVerified)
    with pytest.raises(OtpInvalid):
        await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, otp), None)


async def test_verifying_again_with_the_same_key_answers_again(world: World) -> None:
    await registered(world)
    key, command = world.key("/VerifyEmail"), VerifyEmail(EMAIL, world.otp())
    first = await verify_email(world.ports, world.anybody, command, key)
    for _ in range(7):
        assert await verify_email(world.ports, world.anybody, command, key) == first


async def test_a_refused_guess_does_not_use_up_its_key(world: World) -> None:
    await registered(world)
    key = world.key("/VerifyEmail")
    with pytest.raises(OtpInvalid):
        await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.wrong_otp()), key)
    right = world.key("/VerifyEmail", body=b"right")
    await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), right)


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
async def test_the_sixth_guess_is_refused_whatever_it_is(world: World, email: str) -> None:
    await registered(world)
    for _ in range(5):
        with pytest.raises(OtpInvalid):
            await verify_email(world.ports, world.anybody, VerifyEmail(email, world.wrong_otp()), None)
    with pytest.raises(TooManyAttempts) as refused:
        await verify_email(world.ports, world.anybody, VerifyEmail(email, world.otp()), None)
    assert refused.value.retry_after == timedelta(minutes=10)


async def test_a_hundred_guesses_at_once_are_five(world: World) -> None:
    await registered(world)
    wrong = VerifyEmail(EMAIL, world.wrong_otp())
    guesses = (verify_email(world.ports, world.anybody, wrong, None) for _ in range(100))
    refusals = [type(refusal) for refusal in await asyncio.gather(*guesses, return_exceptions=True)]
    assert refusals.count(OtpInvalid) == 5
    assert refusals.count(TooManyAttempts) == 95


async def test_a_new_code_comes_with_new_guesses_and_ends_the_old_one(world: World) -> None:
    await registered(world)
    old = world.otp()
    for _ in range(5):
        with pytest.raises(OtpInvalid):
            await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.wrong_otp()), None)
    await resend_otp(world.ports, world.anybody, ResendOtp(EMAIL), None)
    if old != world.otp():
        with pytest.raises(OtpInvalid):
            await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, old), None)
    await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), None)


async def test_an_expired_code_proves_nothing(world: World) -> None:
    await registered(world)
    world.clock.advance(timedelta(minutes=10))
    with pytest.raises(OtpInvalid):
        await verify_email(world.ports, world.anybody, VerifyEmail(EMAIL, world.otp()), None)


async def test_a_code_of_another_person_proves_nothing(world: World) -> None:
    await registered(world)
    others = world.otp()
    await register(world.ports, world.anybody, cara(email="eve@example.com"), None)
    if others != world.otp():
        with pytest.raises(OtpInvalid):
            await verify_email(world.ports, world.anybody, VerifyEmail("eve@example.com", others), None)


async def test_resending_waits_between_two(world: World) -> None:
    await registered(world)
    await resend_otp(world.ports, world.anybody, ResendOtp(EMAIL), None)
    with pytest.raises(TooManyAttempts) as refused:
        await resend_otp(world.ports, world.anybody, ResendOtp(EMAIL), None)
    assert refused.value.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize("address", ["nobody@example.com", EMAIL])
async def test_resending_tells_nothing_of_unknown_and_verified_addresses(world: World, address: str) -> None:
    await verified(world)
    told = len(world.facts)
    assert await resend_otp(world.ports, world.anybody, ResendOtp(address), None) == START + timedelta(minutes=10)
    assert len(world.facts) == told
