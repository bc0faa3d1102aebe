"""What auth tells the other services; ids only, never personal data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.auth.domain.challenges import Purpose


@dataclass(frozen=True, slots=True)
class UserRegistered:
    """Somebody registered; the address is not verified yet."""

    user_id: str


@dataclass(frozen=True, slots=True)
class UserVerified:
    """Somebody verified the address and may log in."""

    user_id: str


@dataclass(frozen=True, slots=True)
class OtpIssued:
    """A person is to be written to about a code; no challenge where the mail carries none."""

    user_id: str
    challenge_id: str
    purpose: Purpose
    expire_time: datetime


Fact = UserRegistered | UserVerified | OtpIssued
