"""Counted attempts: how often something may be tried within a window of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.auth.domain.errors import TooManyAttempts


class Attempt(StrEnum):
    """What is counted, for each address of a tenant (known or not: the answers must not differ)."""

    LOGIN = "login"
    OTP_GUESS = "otp_guess"
    OTP_ISSUE = "otp_issue"
    OTP_RESEND = "otp_resend"


@dataclass(frozen=True, slots=True)
class Count:
    """How often it was tried in the running window, this attempt included."""

    count: int
    window_start: datetime


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many attempts in a window that begins with the first."""

    most: int
    window: timedelta

    def admit(self, counted: Count, now: datetime) -> None:
        """Refuse the attempt that is one too many, saying when the window ends."""
        if counted.count > self.most:
            left = counted.window_start + self.window - now
            # Of two attempts at once the one that looked at its clock first may be counted last.
            raise TooManyAttempts(retry_after=min(max(left, timedelta(seconds=1)), self.window))
