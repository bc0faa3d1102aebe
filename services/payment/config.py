"""What payment is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.chassis.config import ServiceConfig


@dataclass(frozen=True, kw_only=True, repr=False)
class PaymentConfig(ServiceConfig):
    """Payment's own settings."""

    stripe_api_key: str = field(metadata={"env": "BERTH_STRIPE_API_KEY", "secret": True})
    stripe_api_base: str = field(default="https://api.stripe.com", metadata={"env": "BERTH_STRIPE_API_BASE"})
    # Several, separated by commas, while a new one is being rolled out.
    stripe_webhook_secret: str = field(metadata={"env": "BERTH_STRIPE_WEBHOOK_SECRET", "secret": True})
