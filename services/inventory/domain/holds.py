"""Holds: units kept for somebody, how they move, and what placing one takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money
from services.inventory.domain.catalog import Resource
from services.inventory.domain.errors import NotBookable
from services.inventory.domain.items import Cells, Item, bookable_until, cells, finish_time, obstacles
from services.inventory.domain.pricing import PricedItem, price_item, total_of

DEFAULT_TTL = timedelta(minutes=10)
QUOTE_LIFE = timedelta(minutes=30)
LONGEST_LIFE = timedelta(hours=1)  # of a person's hold, from its beginning
CLOCK_SLACK = timedelta(minutes=15)  # how far a process's clock may be off; the database decides what is past


class HoldStatus(StrEnum):
    """Where a hold stands."""

    HELD = "HELD"
    POSTED = "POSTED"
    VOIDED = "VOIDED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


# Every way a hold can go; a booking that never had a hold may begin, and end, as VOIDED.
HOLD_MOVES: MappingProxyType[HoldStatus, frozenset[HoldStatus]] = MappingProxyType(
    {
        HoldStatus.HELD: frozenset(
            {HoldStatus.HELD, HoldStatus.POSTED, HoldStatus.VOIDED, HoldStatus.RELEASED, HoldStatus.EXPIRED}
        ),
        HoldStatus.POSTED: frozenset({HoldStatus.CANCELLED}),
        HoldStatus.VOIDED: frozenset(),
        HoldStatus.RELEASED: frozenset(),
        HoldStatus.EXPIRED: frozenset(),
        HoldStatus.CANCELLED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True)
class Hold:
    """Units kept for somebody."""

    hold_id: str
    user_id: str
    status: HoldStatus  # as of the database's time: EXPIRED from its end on, swept or not
    items: tuple[PricedItem, ...]
    create_time: datetime
    expire_time: datetime
    booking_id: str = ""

    @property
    def total(self) -> Money:
        """What all items cost."""
        return total_of(self.items)


@dataclass(frozen=True, slots=True)
class Claim:
    """The units that one item takes from a resource's grid."""

    resource_id: str
    version: int  # of the resource that the item was checked against
    cells: Cells
    quantity: int
    bookable_until: datetime
    finish_time: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """A hold to place: all of its claims, or none."""

    hold_id: str
    user_id: str
    items: tuple[PricedItem, ...]
    claims: tuple[Claim, ...]
    ttl: timedelta
    booking_id: str = ""
    step: str = ""
    quote_until: datetime | None = None
    key: IdempotencyKey | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes a second order the same as this one, so that one statement never decides both."""
        if self.booking_id:
            return ("booking", self.booking_id, self.step)
        if self.key is not None:
            return ("key", self.key.principal, self.key.method, self.key.key)
        return ("hold", self.hold_id)


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices that hold for a while."""

    quote_id: str
    user_id: str
    items: tuple[PricedItem, ...]
    create_time: datetime
    expire_time: datetime

    @property
    def total(self) -> Money:
        """What all items cost."""
        return total_of(self.items)


def check_items(resources: Mapping[str, Resource], items: Iterable[Item], now: datetime) -> None:
    """Refuse the first item that cannot be booked, whoever else asks."""
    for item in items:
        found = obstacles(resources[item.resource_id], item, now)
        if found:
            codes = ",".join(dict.fromkeys(obstacle.code for obstacle in found))
            raise NotBookable(found[0].message, refusals=codes, resourceId=item.resource_id)


def price_items(resources: Mapping[str, Resource], items: Iterable[Item]) -> tuple[PricedItem, ...]:
    """Price items that can be booked together."""
    priced = tuple(price_item(resources[item.resource_id], item) for item in items)
    total_of(priced)
    return priced


def claims_of(resources: Mapping[str, Resource], items: Iterable[Item]) -> tuple[Claim, ...]:
    """What items take from the grid."""
    return tuple(_claim(resources[item.resource_id], item) for item in items)


def _claim(resource: Resource, item: Item) -> Claim:
    return Claim(
        resource_id=item.resource_id,
        version=resource.version,
        cells=cells(resource, item.range),
        quantity=item.quantity,
        bookable_until=bookable_until(resource, item.range),
        finish_time=finish_time(resource, item.range),
    )
