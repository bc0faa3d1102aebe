"""What notification is told by its environment, beyond what every service is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from services.chassis.config import ConfigError, ServiceConfig


@dataclass(frozen=True, kw_only=True)
class NotificationConfig(ServiceConfig):
    """Notification's configuration, checked when it is read."""

    smtp_host: str = field(metadata={"env": "BERTH_SMTP_HOST"})
    smtp_port: int = field(metadata={"env": "BERTH_SMTP_PORT"})
    # With a user name the connection must be encrypted; without one it is where the server offers it.
    smtp_user: str = field(default="", metadata={"env": "BERTH_SMTP_USER"})
    smtp_password: str = field(default="", metadata={"env": "BERTH_SMTP_PASSWORD", "secret": True})
    mail_from: str = field(metadata={"env": "BERTH_MAIL_FROM"})
    mails_per_second: int = field(default=30, metadata={"env": "BERTH_MAILS_PER_SECOND"})

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s@<>,;\"]+@[A-Za-z0-9.-]+", self.mail_from):
            raise ConfigError(f"BERTH_MAIL_FROM must be a plain address such as a@b.example; it is {self.mail_from!r}.")
        if not 0 < self.smtp_port < 65_536:
            raise ConfigError(f"BERTH_SMTP_PORT must be a port; it is {self.smtp_port}.")
        if not 1 <= self.mails_per_second <= 10_000:
            raise ConfigError(f"BERTH_MAILS_PER_SECOND must lie between 1 and 10000; it is {self.mails_per_second}.")

    @property
    def mail_domain(self) -> str:
        """The domain that message ids are made in."""
        return self.mail_from.rpartition("@")[2]
