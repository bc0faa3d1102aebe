"""What items cost: lines of units, fee and tax, exact to the currency's smallest unit.

Tax is computed once for each item, on the sum of its other lines, and rounded half up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.chassis.errors import InvalidField, Violation
from services.chassis.money import AmountInexact, Money
from services.inventory.domain.catalog import CancellationPolicy, Price, Resource
from services.inventory.domain.items import Item, begin_time, finish_time, units

BASIS_POINTS = 10_000  # in a whole


class LineKind(StrEnum):
    """What a price line is for."""

    UNIT = "UNIT"
    FEE = "FEE"
    TAX = "TAX"


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One line of a price."""

    kind: LineKind
    quantity: int
    unit_price: Money
    amount: Money


@dataclass(frozen=True, slots=True)
class PricedItem:
    """One item as it was priced, with the facts that a booking keeps."""

    item: Item
    vendor_id: str
    resource_name: str
    time_zone: str
    begin_time: datetime
    finish_time: datetime
    lines: tuple[PriceLine, ...]
    cancellation_policy: CancellationPolicy

    @property
    def total(self) -> Money:
        """The sum of the lines."""
        return _sum([line.amount for line in self.lines])


def price_item(resource: Resource, item: Item) -> PricedItem:
    """Price an item that can be booked as asked."""
    return PricedItem(
        item=item,
        vendor_id=resource.vendor_id,
        resource_name=resource.name,
        time_zone=resource.time_zone,
        begin_time=begin_time(resource, item.range),
        finish_time=finish_time(resource, item.range),
        lines=price_lines(resource.price, units(resource, item.range) * item.quantity),
        cancellation_policy=resource.cancellation_policy,
    )


def price_lines(price: Price, count: int) -> tuple[PriceLine, ...]:
    """The lines of `count` units; lines that cost nothing are left out, but for the units'."""
    try:
        lines = [PriceLine(LineKind.UNIT, count, price.unit, price.unit * count)]
        if price.fee.minor:
            lines.append(PriceLine(LineKind.FEE, 1, price.fee, price.fee))
        tax = tax_on(_sum([line.amount for line in lines]), price.tax_basis_points)
    except AmountInexact as error:
        raise too_expensive() from error
    if tax.minor:
        lines.append(PriceLine(LineKind.TAX, 1, tax, tax))
    return tuple(lines)


def tax_on(net: Money, basis_points: int) -> Money:
    """A tax, rounded half up to the currency's smallest unit."""
    return Money(net.currency, (net.minor * basis_points + BASIS_POINTS // 2) // BASIS_POINTS)


def total_of(items: Sequence[PricedItem]) -> Money:
    """What several items cost together; they must be in one currency."""
    totals = [item.total for item in items]
    if len({total.currency for total in totals}) > 1:
        raise InvalidField(violations=[Violation("items", "must all be priced in one currency")])
    try:
        return _sum(totals)
    except AmountInexact as error:
        raise too_expensive() from error


def too_expensive() -> InvalidField:
    """The refusal of an amount that no payment can carry."""
    return InvalidField(violations=[Violation("items", "cost more than can be charged at once")])


def _sum(amounts: Sequence[Money]) -> Money:
    result = amounts[0]
    for amount in amounts[1:]:
        result += amount
    return result
