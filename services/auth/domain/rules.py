"""How long, how often and how many: the numbers that auth's decisions take, with the values it starts with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.auth.domain.attempts import Limit


@dataclass(frozen=True, slots=True)
class KeyRules:
    """When signing keys come and go."""

    # How long a key signs before the next one takes over.
    period: timedelta = timedelta(days=30)
    # How long a key is published before it signs: longer than anybody caches the key set.
    lead: timedelta = timedelta(hours=1)
    # How long a key stays published after it last signed: longer than any token lives, and clocks may differ.
    keep: timedelta = timedelta(hours=1)


# Guesses: five a code, and five codes an hour, give somebody who guesses blindly 25 chances in a million an hour.
_GUESSES = Limit(5, timedelta(minutes=10))
_ISSUES = Limit(5, timedelta(hours=1))
_RESEND_PAUSE = Limit(1, timedelta(seconds=30))
_LOGINS = Limit(10, timedelta(minutes=15))
_KEYS = KeyRules()


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers in force; configuration may change some."""

    otp_life: timedelta = timedelta(minutes=10)
    otp_guesses: Limit = _GUESSES
    otp_issues: Limit = _ISSUES
    otp_resend_pause: Limit = _RESEND_PAUSE
    logins: Limit = _LOGINS
    access_life: timedelta = timedelta(minutes=5)
    refresh_life: timedelta = timedelta(days=30)
    # An answer that was lost on its way is given again for this long after the token's first use.
    refresh_grace: timedelta = timedelta(seconds=10)
    keys: KeyRules = _KEYS
    # What is kept after it ended, so that people who ask what happened can be told.
    ended_sessions_kept: timedelta = timedelta(days=30)
    ended_otps_kept: timedelta = timedelta(days=1)
