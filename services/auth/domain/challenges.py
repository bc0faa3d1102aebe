"""One-time codes: what they prove, and while they live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Purpose(StrEnum):
    """Why a person is written to about a code."""

    VERIFY_EMAIL = "VERIFY_EMAIL"
    ALREADY_REGISTERED = "ALREADY_REGISTERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A code that was issued to a person: sealed so that it can be mailed, digested so that it can be compared."""

    challenge_id: str
    tenant_id: str
    user_id: str
    digest: bytes
    sealed: bytes
    create_time: datetime
    expire_time: datetime
    end_time: datetime | None = None  # used, or replaced by a newer one

    def is_live(self, now: datetime) -> bool:
        """Whether the code still proves anything."""
        return self.end_time is None and now < self.expire_time
