"""Exact money: minor units inside, decimal text outside, never a float."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

MAX_MINOR = 10**15  # beyond this an amount is a mistake; it also keeps sums inside a 64-bit column

_TWO = (
    "AED AUD BRL CAD CHF CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR KES MAD MXN MYR NGN NOK NZD PEN PHP PLN QAR "
    "RON SAR SEK SGD THB TRY TWD UAH USD ZAR"
)
_NONE = "CLP ISK JPY KRW PYG UGX VND XAF XOF XPF"
_THREE = "BHD JOD KWD OMR TND"

# How many digits each currency has after the point. A currency that is not here is refused.
CURRENCIES: MappingProxyType[str, int] = MappingProxyType(
    {code: digits for codes, digits in ((_TWO, 2), (_NONE, 0), (_THREE, 3)) for code in codes.split()}
)

_AMOUNT = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


class CurrencyUnknown(ValueError):
    """The currency is not one that Berth sells in."""


class AmountInexact(ValueError):
    """The amount is not an exact decimal of its currency."""


class CurrencyMismatch(ValueError):
    """Amounts of two currencies do not add up."""


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount of one currency, in its smallest unit."""

    currency: str
    minor: int

    def __post_init__(self) -> None:
        if self.currency not in CURRENCIES:
            raise CurrencyUnknown(f"The currency {self.currency!r} is not known.")
        if type(self.minor) is not int:
            raise TypeError("Minor units are whole numbers.")
        if abs(self.minor) > MAX_MINOR:
            raise AmountInexact("The amount is out of range.")

    @classmethod
    def parse(cls, currency: str, amount: str) -> Money:
        """Read `150.00`; fewer digits after the point than the currency has are fine, more are refused."""
        digits = CURRENCIES.get(currency)
        if digits is None:
            raise CurrencyUnknown(f"The currency {currency!r} is not known.")
        match = _AMOUNT.fullmatch(amount)
        if match is None:
            raise AmountInexact("An amount is a decimal such as 150.00.")
        sign, whole, fraction = match[1], match[2], match[3] or ""
        if len(fraction) > digits:
            raise AmountInexact(f"{currency} has {digits} digits after the point.")
        if len(whole) > len(str(MAX_MINOR)):  # before int(), which is slow on long texts
            raise AmountInexact("The amount is out of range.")
        minor = int(whole + fraction.ljust(digits, "0"))
        return cls(currency, -minor if sign else minor)

    @classmethod
    def zero(cls, currency: str) -> Money:
        """Nothing, of a currency."""
        return cls(currency, 0)

    @property
    def amount(self) -> str:
        """The amount as a decimal with all of its currency's digits: `150.00`."""
        digits = CURRENCIES[self.currency]
        sign = "-" if self.minor < 0 else ""
        text = str(abs(self.minor)).rjust(digits + 1, "0")
        return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"

    @property
    def negative(self) -> bool:
        """Whether it is less than nothing."""
        return self.minor < 0

    def __add__(self, other: Money) -> Money:
        return Money(self.currency, self.minor + self._same(other))

    def __sub__(self, other: Money) -> Money:
        return Money(self.currency, self.minor - self._same(other))

    def __mul__(self, times: int) -> Money:
        if type(times) is not int:
            raise TypeError("Money is multiplied by whole numbers; shares of it need a stated rounding.")
        return Money(self.currency, self.minor * times)

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return Money(self.currency, -self.minor)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not add up.")
        return other.minor
