"""What auth is told by its environment, beyond what every service is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from services.auth.domain.rules import KeyRules, Rules
from services.chassis.config import ConfigError, ServiceConfig

MASTER_KEY_BYTES: Final = 32


@dataclass(frozen=True, kw_only=True)
class AuthConfig(ServiceConfig):
    """Auth's configuration, checked when it is read."""

    master_key: bytes = field(metadata={"env": "BERTH_MASTER_KEY", "secret": True})
    access_token_seconds: int = field(default=300, metadata={"env": "BERTH_ACCESS_TOKEN_SECONDS"})
    refresh_token_days: int = field(default=30, metadata={"env": "BERTH_REFRESH_TOKEN_DAYS"})
    key_rotation_days: int = field(default=30, metadata={"env": "BERTH_KEY_ROTATION_DAYS"})
    # Two passes over 19 MiB: the least that OWASP's password storage guide recommends, some 25 ms of one core.
    argon2_time_cost: int = field(default=2, metadata={"env": "BERTH_ARGON2_TIME_COST"})
    argon2_memory_kib: int = field(default=19_456, metadata={"env": "BERTH_ARGON2_MEMORY_KIB"})
    argon2_threads: int = field(default=2, metadata={"env": "BERTH_ARGON2_THREADS"})

    def __post_init__(self) -> None:
        if len(self.master_key) != MASTER_KEY_BYTES:
            raise ConfigError(
                f"BERTH_MASTER_KEY must be {MASTER_KEY_BYTES} bytes in base64; it has {len(self.master_key)}."
            )
        # A ban takes effect within one access token's life, and keys stay published for an hour after they signed.
        _within("BERTH_ACCESS_TOKEN_SECONDS", self.access_token_seconds, 30, 1_800)
        _within("BERTH_REFRESH_TOKEN_DAYS", self.refresh_token_days, 1, 365)
        _within("BERTH_KEY_ROTATION_DAYS", self.key_rotation_days, 1, 365)
        _within("BERTH_ARGON2_TIME_COST", self.argon2_time_cost, 1, 20)
        # Cheap hashes are for tests; whoever serves people pays for theirs.
        least_memory = 64 if self.environment == "local" else 12_288
        _within("BERTH_ARGON2_MEMORY_KIB", self.argon2_memory_kib, least_memory, 1_048_576)
        _within("BERTH_ARGON2_THREADS", self.argon2_threads, 1, 64)

    @property
    def rules(self) -> Rules:
        """The domain's numbers, as configured."""
        return Rules(
            access_life=timedelta(seconds=self.access_token_seconds),
            refresh_life=timedelta(days=self.refresh_token_days),
            keys=KeyRules(period=timedelta(days=self.key_rotation_days)),
        )


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{name} must lie between {least} and {most}; it is {value}.")
