"""Forgetting what ended long ago."""

from __future__ import annotations

from services.auth.ports import Ports


async def purge(ports: Ports) -> int:
    """Delete one batch of codes, sessions and counters that nobody needs any more; how many rows went."""
    now, rules = ports.clock.now(), ports.rules
    longest = max(limit.window for limit in (rules.logins, rules.otp_guesses, rules.otp_issues, rules.otp_resend_pause))
    return await ports.work.purge(now - rules.ended_otps_kept, now - rules.ended_sessions_kept, now - longest)
