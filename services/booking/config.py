"""What booking is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from services.booking.ports import Times
from services.chassis.config import ConfigError, ServiceConfig

MAX_PAYMENT_WINDOW_SECONDS = 604_800 - 120  # inventory keeps no units for longer than a week


@dataclass(frozen=True, kw_only=True, repr=False)
class BookingConfig(ServiceConfig):
    """Booking's own settings."""

    payment_window_seconds: int = field(default=900, metadata={"env": "BERTH_BOOKING_PAYMENT_WINDOW_SECONDS"})
    # A run that died is taken up after this; it is at least as long as the longest call, so that none runs twice.
    lease_seconds: int = field(default=15, metadata={"env": "BERTH_BOOKING_LEASE_SECONDS"})

    def __post_init__(self) -> None:
        if not 1 <= self.payment_window_seconds <= MAX_PAYMENT_WINDOW_SECONDS:
            raise ConfigError(
                f"BERTH_BOOKING_PAYMENT_WINDOW_SECONDS must lie between 1 and {MAX_PAYMENT_WINDOW_SECONDS}."
            )
        if not 1 <= self.lease_seconds <= 60:
            raise ConfigError("BERTH_BOOKING_LEASE_SECONDS must lie between 1 and 60.")

    @property
    def times(self) -> Times:
        """How long things take and last."""
        return Times(
            payment_window=timedelta(seconds=self.payment_window_seconds), lease=timedelta(seconds=self.lease_seconds)
        )
