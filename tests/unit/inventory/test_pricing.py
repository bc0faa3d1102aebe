"""Prices are exact: units, fee and tax, rounded half up once for each item."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidField
from services.chassis.money import CURRENCIES, Money
from services.inventory.domain.catalog import Price
from services.inventory.domain.holds import price_items
from services.inventory.domain.pricing import LineKind, price_lines, tax_on, total_of
from tests.unit.inventory.builders import a_person, a_price, a_stay, a_vendor, nights


@pytest.mark.parametrize(
    ("net", "basis_points", "tax"),
    [(50, 100, 1), (49, 100, 0), (150, 100, 2), (10_000, 700, 700), (1, 5_000, 1), (0, 700, 0), (333, 1_950, 65)],
)
def test_tax_is_rounded_half_up(net: int, basis_points: int, tax: int) -> None:
    assert tax_on(Money("EUR", net), basis_points) == Money("EUR", tax)


@given(st.integers(0, 10**12), st.integers(0, 5_000))
def test_tax_agrees_with_decimals(net: int, basis_points: int) -> None:
    exact = (Decimal(net) * basis_points / 10_000).quantize(Decimal(1), ROUND_HALF_UP)
    assert tax_on(Money("JPY", net), basis_points).minor == int(exact)


@given(
    st.sampled_from(sorted(CURRENCIES)),
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.integers(0, 5_000),
    st.integers(1, 1_000),
)
def test_lines_add_up(currency: str, unit: int, fee: int, tax: int, count: int) -> None:
    lines = price_lines(Price(Money(currency, unit), Money(currency, fee), tax), count)
    amounts = {line.kind: line.amount.minor for line in lines}
    assert amounts[LineKind.UNIT] == unit * count
    assert amounts.get(LineKind.FEE, 0) == fee
    net = unit * count + fee
    assert abs(amounts.get(LineKind.TAX, 0) * 10_000 - net * tax) <= 5_000
    assert all(line.unit_price * line.quantity == line.amount for line in lines)


def test_a_price_that_nobody_can_pay_is_refused() -> None:
    with pytest.raises(InvalidField):
        price_lines(a_price("999999999.99"), 1_000 * 365)


def test_items_share_a_currency() -> None:
    vendor = a_vendor(a_person("ten"))
    euros, dollars = a_stay(vendor), a_stay(vendor)
    object.__setattr__(dollars, "price", a_price(currency="USD"))
    resources = {euros.resource_id: euros, dollars.resource_id: dollars}
    with pytest.raises(InvalidField):
        price_items(resources, [nights(euros, "2027-04-01"), nights(dollars, "2027-04-01")])
    priced = price_items(resources, [nights(euros, "2027-04-01", 2, 3), nights(euros, "2027-05-01")])
    assert total_of(priced).amount == "700.00"
