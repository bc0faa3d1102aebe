"""What inventory is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.chassis.config import ServiceConfig


@dataclass(frozen=True, kw_only=True, repr=False)
class InventoryConfig(ServiceConfig):
    """Inventory's own settings."""

    # How often holds that time has ended are marked. They keep nothing before that either: this is for the eye alone.
    sweep_seconds: float = field(default=1.0, metadata={"env": "BERTH_SWEEP_SECONDS"})
