"""What is booked and what it was sold for, as inventory priced it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.chassis.money import Money


class Policy(StrEnum):
    """A named set of refund tiers, in inventory's words."""

    FLEXIBLE = "FLEXIBLE"
    MODERATE = "MODERATE"
    STRICT = "STRICT"


class PriceKind(StrEnum):
    """What a price line is for, in inventory's words."""

    UNIT = "UNIT"
    FEE = "FEE"
    TAX = "TAX"


@dataclass(frozen=True, slots=True)
class Item:
    """One resource over one range: dates for a stay, instants for an appointment."""

    resource_id: str
    start_date: str = ""
    end_date: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One line of a price."""

    kind: PriceKind
    quantity: int
    unit_price: Money
    amount: Money


@dataclass(frozen=True, slots=True)
class PricedItem:
    """An item as it was sold, with the facts that the booking keeps."""

    item: Item
    vendor_id: str
    resource_name: str
    time_zone: str
    begin_time: datetime
    finish_time: datetime
    lines: tuple[PriceLine, ...]
    total: Money
    policy: Policy
