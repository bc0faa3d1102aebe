"""Becoming a verified person: register, get a code, verify the address."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.attempts import Attempt
from services.auth.domain.challenges import Challenge, Purpose
from services.auth.domain.errors import OtpInvalid
from services.auth.domain.facts import OtpIssued, UserRegistered, UserVerified
from services.auth.domain.roles import Role
from services.auth.domain.users import Profile, User, UserStatus, check_password, email_key, tidied
from services.auth.ports import Ports, Unit
from services.auth.usecases.claims import claim, of_subject
from services.chassis.errors import NotFound, Violation
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.principal import Principal


@dataclass(frozen=True, slots=True)
class Register:
    """Somebody who wants an account."""

    profile: Profile
    password: str


@dataclass(frozen=True, slots=True)
class VerifyEmail:
    """An address and the code that was mailed to it."""

    email: str
    otp: str


@dataclass(frozen=True, slots=True)
class ResendOtp:
    """An address that wants another code."""

    email: str


async def register(ports: Ports, caller: Principal, command: Register, key: IdempotencyKey | None) -> datetime:
    """Register a person and issue a code; a known address gets the same answer after the same work.

    Returns when the code ends.
    """
    profile = tidied(command.profile)
    check_password(command.password, profile.email)
    password_hash = await ports.passwords.hash(command.password)
    address = email_key(profile.email)
    subject = ports.secrets.subject(caller.tenant_id, address)
    key = of_subject(ports, key, subject)
    now = ports.clock.now()
    expire_time = now + ports.rules.otp_life
    async with ports.work.unit(caller.tenant_id) as unit:
        claimed = await claim(unit, key, "", now)
        if claimed.response is not None:
            return datetime.fromisoformat(claimed.response.decode())
        # The counter's row is held until the unit ends: registrations of one address come one after the other.
        await _admit_issue(ports, unit, subject, now)
        user = await unit.users.by_email(address, lock=True)
        if user is None:
            user = _newcomer(caller.tenant_id, profile, now)
            await unit.users.add(user, password_hash)
            await unit.facts.tell(user.user_id, UserRegistered(user.user_id), now)
            await _issue(ports, unit, user, subject, now)
        elif user.status is UserStatus.UNVERIFIED:
            await unit.users.save(user.registered_again(profile, now))
            await unit.users.set_password_hash(user.user_id, password_hash)
            await _issue(ports, unit, user, subject, now)
        else:
            known = OtpIssued(user.user_id, "", Purpose.ALREADY_REGISTERED, expire_time)
            await unit.facts.tell(user.user_id, known, now)
        if key is not None:
            await unit.keys.save_response(key, expire_time.isoformat().encode())
    return expire_time


async def resend_otp(ports: Ports, caller: Principal, command: ResendOtp, key: IdempotencyKey | None) -> datetime:
    """Issue another code, which makes the older ones void; unknown and verified addresses get the same answer."""
    address = email_key(command.email)
    subject = ports.secrets.subject(caller.tenant_id, address)
    key = of_subject(ports, key, subject)
    now = ports.clock.now()
    expire_time = now + ports.rules.otp_life
    pause = ports.rules.otp_resend_pause
    async with ports.work.unit(caller.tenant_id) as unit:
        claimed = await claim(unit, key, "", now)
        if claimed.response is not None:
            return datetime.fromisoformat(claimed.response.decode())
        pause.admit(await unit.attempts.add(Attempt.OTP_RESEND, subject, pause.window, now), now)
        await _admit_issue(ports, unit, subject, now)
        user = await unit.users.by_email(address, lock=True)
        if user is not None and user.status is UserStatus.UNVERIFIED:
            await _issue(ports, unit, user, subject, now)
        else:
            await unit.attempts.clear(Attempt.OTP_GUESS, subject)
        if key is not None:
            await unit.keys.save_response(key, expire_time.isoformat().encode())
    return expire_time


async def verify_email(ports: Ports, caller: Principal, command: VerifyEmail, key: IdempotencyKey | None) -> User:
    """Verify an address by its code. A wrong guess is counted before it is refused, for unknown addresses too."""
    address = email_key(command.email)
    subject = ports.secrets.subject(caller.tenant_id, address)
    key = of_subject(ports, key, subject)
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        user = await unit.users.by_email(address, lock=True)
        claimed = await claim(unit, key, user.user_id if user else "", now)
        if not claimed.first:
            return await _verified_before(unit, claimed.resource_id)
        guesses = ports.rules.otp_guesses
        guessed = await unit.attempts.add(Attempt.OTP_GUESS, subject, guesses.window, now)
        guesses.admit(guessed, now)
        verified = await _verify(ports, unit, user, command.otp, now)
        if verified is not None:
            await unit.attempts.clear(Attempt.OTP_GUESS, subject)
        elif key is not None:
            await unit.keys.release(key)
    # Outside of the unit: the guess stays counted.
    if verified is None:
        raise OtpInvalid(violations=(Violation("otp", "is not the code that proves the address"),))
    return verified


async def _verify(ports: Ports, unit: Unit, user: User | None, otp: str, now: datetime) -> User | None:
    if user is None or user.status is not UserStatus.UNVERIFIED:
        return None
    challenge = await unit.challenges.latest(user.user_id)
    if challenge is None or not challenge.is_live(now):
        return None
    if not hmac.compare_digest(challenge.digest, ports.secrets.otp_digest(challenge.challenge_id, otp)):
        return None
    verified = user.verified(now)
    await unit.challenges.end(user.user_id, now)
    await unit.users.save(verified)
    await unit.facts.tell(user.user_id, UserVerified(user.user_id), now)
    return verified


async def _verified_before(unit: Unit, user_id: str) -> User:
    user = await unit.users.get(user_id)
    if user is None:
        raise NotFound(resource="user")
    return user


async def _admit_issue(ports: Ports, unit: Unit, subject: str, now: datetime) -> None:
    issues = ports.rules.otp_issues
    issues.admit(await unit.attempts.add(Attempt.OTP_ISSUE, subject, issues.window, now), now)


async def _issue(ports: Ports, unit: Unit, user: User, subject: str, now: datetime) -> None:
    """Issue a code, with guesses of its own, in place of all earlier ones."""
    challenge_id = new_id("otp", at=now, shard=shard_of(user.user_id))
    otp = ports.secrets.draw_otp()
    challenge = Challenge(
        challenge_id=challenge_id,
        tenant_id=user.tenant_id,
        user_id=user.user_id,
        digest=ports.secrets.otp_digest(challenge_id, otp),
        sealed=ports.secrets.seal_otp(challenge_id, otp),
        create_time=now,
        expire_time=now + ports.rules.otp_life,
    )
    await unit.challenges.end(user.user_id, now)
    await unit.challenges.add(challenge)
    await unit.attempts.clear(Attempt.OTP_GUESS, subject)
    issued = OtpIssued(user.user_id, challenge_id, Purpose.VERIFY_EMAIL, challenge.expire_time)
    await unit.facts.tell(user.user_id, issued, now)


def _newcomer(tenant_id: str, profile: Profile, now: datetime) -> User:
    return User(
        user_id=new_id("usr", at=now),
        tenant_id=tenant_id,
        profile=profile,
        status=UserStatus.UNVERIFIED,
        roles=(Role.CUSTOMER,),
        create_time=now,
        update_time=now,
    )
