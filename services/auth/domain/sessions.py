"""Sessions: their chain of refresh tokens, what using one means, and the claims of the access tokens they give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Final

from services.auth.domain.errors import RefreshTokenInvalid
from services.auth.domain.roles import permissions_of
from services.auth.domain.rules import Rules
from services.auth.domain.users import User

# The newest vendors that a token names; a token must fit into a header.
MAX_VENDORS_IN_TOKEN: Final = 100

_TOKEN = re.compile(r"(ses_[0-9a-hjkmnp-tv-z]{26})\.([1-9][0-9]{0,8})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One link of a session's chain, as its holder presents it: which session, which link, and the proof."""

    session_id: str
    generation: int
    proof: str

    @classmethod
    def parse(cls, text: str) -> RefreshToken:
        """Read a presented token; whether it is genuine shows only with its session."""
        found = _TOKEN.fullmatch(text)
        if found is None:
            raise RefreshTokenInvalid
        return cls(found[1], int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{self.session_id}.{self.generation}.{self.proof}"


class EndReason(StrEnum):
    """Why a session ended before its time."""

    LOGOUT = "LOGOUT"
    REUSE = "REUSE"


class Spending(Enum):
    """What presenting a genuine refresh token comes to."""

    ROTATED = auto()  # its first use: the next one takes over
    GIVEN_AGAIN = auto()  # used a moment ago, and its successor not yet: the answer was lost on its way
    REUSED = auto()  # two hold it: the session is over for both
    ENDED = auto()  # the session is over


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A person logged in on one device. Its refresh tokens are derived from it, so none of them is stored."""

    session_id: str
    tenant_id: str
    user_id: str
    device_name: str
    salt: bytes
    generation: int  # the number of the only refresh token that was not used yet
    create_time: datetime
    rotate_time: datetime  # when that token was first given
    expire_time: datetime
    end_time: datetime | None = None
    end_reason: EndReason | None = None

    def spend(self, generation: int, now: datetime, rules: Rules) -> tuple[Spending, Session]:
        """Use a genuine refresh token: what it comes to, and the session after it."""
        if self.end_time is not None or now >= self.expire_time or generation > self.generation:
            return Spending.ENDED, self
        if generation == self.generation:
            rotated = replace(self, generation=generation + 1, rotate_time=now, expire_time=now + rules.refresh_life)
            return Spending.ROTATED, rotated
        if generation == self.generation - 1 and now - self.rotate_time <= rules.refresh_grace:
            return Spending.GIVEN_AGAIN, self
        return Spending.REUSED, self.ended(EndReason.REUSE, now)

    def ended(self, reason: EndReason, at: datetime) -> Session:
        """The session after its end; the first reason stays."""
        if self.end_time is not None:
            return self
        return replace(self, end_time=at, end_reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """What an access token says."""

    token_id: str
    user_id: str
    tenant_id: str
    session_id: str
    permissions: tuple[str, ...]
    vendor_ids: tuple[str, ...]
    issue_time: datetime
    expire_time: datetime


def claims_for(session: Session, user: User, vendor_ids: Sequence[str], life: timedelta) -> AccessClaims:
    """The access token that goes with the session's current refresh token: asked for again, it is the same one."""
    issued = session.rotate_time.replace(microsecond=0)  # tokens count whole seconds
    return AccessClaims(
        token_id=f"{session.session_id}.{session.generation}",
        user_id=user.user_id,
        tenant_id=user.tenant_id,
        session_id=session.session_id,
        permissions=tuple(sorted(permissions_of(user.roles))),
        vendor_ids=tuple(vendor_ids[:MAX_VENDORS_IN_TOKEN]),
        issue_time=issued,
        expire_time=issued + life,
    )
