"""Money is exact: what cannot be, is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.money import CURRENCIES, MAX_MINOR, AmountInexact, CurrencyMismatch, CurrencyUnknown, Money


@pytest.mark.parametrize(
    ("currency", "text", "minor", "amount"),
    [
        ("EUR", "150.00", 15000, "150.00"),
        ("EUR", "150", 15000, "150.00"),
        ("EUR", "0.5", 50, "0.50"),
        ("EUR", "-0.05", -5, "-0.05"),
        ("EUR", "-0.00", 0, "0.00"),
        ("JPY", "1500", 1500, "1500"),
        ("KWD", "1.005", 1005, "1.005"),
    ],
)
def test_amounts_are_read_and_written(currency: str, text: str, minor: int, amount: str) -> None:
    money = Money.parse(currency, text)
    assert money.minor == minor
    assert money.amount == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.",
        ".5",
        "1,00",
        "1e3",
        "+1",
        "01",
        "1.005",
        " 1",
        "1 ",
        "NaN",
        "--1",
        "1_000",
        "١",
        "1" * 17,
        "9" * 100_000,
    ],
)
def test_amounts_that_are_not_exact_are_refused(text: str) -> None:
    with pytest.raises(AmountInexact):
        Money.parse("EUR", text)


def test_a_yen_has_no_cents() -> None:
    with pytest.raises(AmountInexact):
        Money.parse("JPY", "1.5")


@pytest.mark.parametrize("currency", ["", "eur", "ZZZ", "EURO"])
def test_unknown_currencies_are_refused(currency: str) -> None:
    with pytest.raises(CurrencyUnknown):
        Money.parse(currency, "1")
    with pytest.raises(CurrencyUnknown):
        Money(currency, 1)


@pytest.mark.parametrize("minor", [1.0, True, "1", None])
def test_minor_units_are_whole_numbers(minor: Any) -> None:
    with pytest.raises(TypeError):
        Money("EUR", minor)
    with pytest.raises(TypeError):
        Money("EUR", 1) * minor


def test_currencies_do_not_mix() -> None:
    with pytest.raises(CurrencyMismatch):
        Money("EUR", 1) + Money("USD", 1)
    with pytest.raises(CurrencyMismatch):
        Money("EUR", 1) - Money("USD", 1)


def test_amounts_beyond_reason_are_refused() -> None:
    with pytest.raises(AmountInexact):
        Money("EUR", MAX_MINOR) + Money("EUR", 1)


AMOUNTS = st.integers(-MAX_MINOR // 4, MAX_MINOR // 4)


@given(st.sampled_from(sorted(CURRENCIES)), AMOUNTS)
def test_what_is_written_is_read_again(currency: str, minor: int) -> None:
    money = Money(currency, minor)
    assert Money.parse(currency, money.amount) == money


@given(AMOUNTS, AMOUNTS)
def test_sums(one: int, two: int) -> None:
    a, b = Money("EUR", one), Money("EUR", two)
    assert a + b - b == a
    assert a + a == a * 2 == 2 * a
    assert -a + a == Money.zero("EUR")
    assert a.negative == (one < 0)
