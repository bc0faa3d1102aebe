"""Logging in and out, and the pairs of tokens between."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.attempts import Attempt
from services.auth.domain.errors import CredentialsInvalid, RefreshTokenInvalid, RefreshTokenReused
from services.auth.domain.sessions import (
    MAX_VENDORS_IN_TOKEN,
    EndReason,
    RefreshToken,
    Session,
    Spending,
    claims_for,
)
from services.auth.domain.tenants import TenantStatus
from services.auth.domain.users import User, email_key
from services.auth.ports import Ports, Unit
from services.chassis.errors import TenantUnknown
from services.chassis.ids import new_id, shard_of
from services.chassis.principal import Principal


@dataclass(frozen=True, slots=True)
class Login:
    """Who somebody says they are."""

    email: str
    password: str
    device_name: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of tokens and their ends."""

    access_token: str
    access_expire_time: datetime
    refresh_token: str
    refresh_expire_time: datetime


async def login(ports: Ports, caller: Principal, command: Login) -> tuple[Tokens, User]:
    """Open a session. The attempt is counted before the password is looked at, and forgotten when it was right."""
    address = email_key(command.email)
    subject = ports.secrets.subject(caller.tenant_id, address)
    limit = ports.rules.logins
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        limit.admit(await unit.attempts.add(Attempt.LOGIN, subject, limit.window, now), now)
        user = await unit.users.by_email(address)
        password_hash = await unit.users.password_hash(user.user_id) if user else None
    # Between two units: hashing is slow, and no connection waits for it.
    if not await ports.passwords.verify(password_hash, command.password) or user is None or password_hash is None:
        raise CredentialsInvalid
    user.must_be_active()
    renewed = await ports.passwords.hash(command.password) if ports.passwords.is_dated(password_hash) else None
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        user = await _active(unit, user.user_id)
        if renewed is not None:
            await unit.users.set_password_hash(user.user_id, renewed)
        session = Session(
            session_id=new_id("ses", at=now, shard=shard_of(user.user_id)),
            tenant_id=user.tenant_id,
            user_id=user.user_id,
            device_name=command.device_name.strip(),
            salt=ports.secrets.draw_salt(),
            generation=1,
            create_time=now,
            rotate_time=now,
            expire_time=now + ports.rules.refresh_life,
        )
        await unit.sessions.add(session)
        await unit.attempts.clear(Attempt.LOGIN, subject)
        vendor_ids = await unit.users.vendors_of(user.user_id, MAX_VENDORS_IN_TOKEN)
    return await _tokens(ports, session, user, vendor_ids), user


async def refresh(ports: Ports, caller: Principal, refresh_token: str) -> Tokens:
    """Exchange a refresh token for the next pair; a spent one ends the session, unless its answer was just lost."""
    token = RefreshToken.parse(refresh_token)
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        before = await _genuine(ports, unit, token)
        if before is None:
            raise RefreshTokenInvalid
        spending, session = before.spend(token.generation, now, ports.rules)
        if spending is Spending.ENDED:
            raise RefreshTokenInvalid
        if session is not before:
            await unit.sessions.save(session)
        user = None if spending is Spending.REUSED else await _active(unit, session.user_id)
        vendor_ids = await unit.users.vendors_of(session.user_id, MAX_VENDORS_IN_TOKEN)
    # Outside of the unit: the session's end stays, and an answer that fails from here on is given again.
    if user is None:
        raise RefreshTokenReused
    return await _tokens(ports, session, user, vendor_ids)


async def logout(ports: Ports, caller: Principal, refresh_token: str) -> None:
    """End the session that any of its refresh tokens names; one that is unknown or over already is fine."""
    try:
        token = RefreshToken.parse(refresh_token)
    except RefreshTokenInvalid:
        return
    now = ports.clock.now()
    async with ports.work.unit(caller.tenant_id) as unit:
        session = await _genuine(ports, unit, token)
        if session is not None and session.end_time is None:
            await unit.sessions.save(session.ended(EndReason.LOGOUT, now))


async def _genuine(ports: Ports, unit: Unit, token: RefreshToken) -> Session | None:
    """The token's session, if the token is one of its own."""
    session = await unit.sessions.get(token.session_id)
    if session is None or token.generation > session.generation:
        return None
    proof = ports.secrets.refresh_proof(session, token.generation)
    return session if hmac.compare_digest(proof, token.proof) else None


async def _active(unit: Unit, user_id: str) -> User:
    """The person again, in the unit that acts for them: they or their tenant may have been suspended meanwhile."""
    user = await unit.users.get(user_id)
    if user is None:
        raise CredentialsInvalid
    user.must_be_active()
    tenant = await unit.tenants.get(user.tenant_id)
    if tenant is None or tenant.status is not TenantStatus.ACTIVE:
        raise TenantUnknown
    return user


async def _tokens(ports: Ports, session: Session, user: User, vendor_ids: list[str]) -> Tokens:
    claims = claims_for(session, user, vendor_ids, ports.rules.access_life)
    proof = ports.secrets.refresh_proof(session, session.generation)
    return Tokens(
        access_token=await ports.signer.sign(claims),
        access_expire_time=claims.expire_time,
        refresh_token=str(RefreshToken(session.session_id, session.generation, proof)),
        refresh_expire_time=session.expire_time,
    )
