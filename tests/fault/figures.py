"""Owns the fault table: one line a test - the fault, the invariant, what was measured and what it may be at most."""

from __future__ import annotations

from dataclasses import dataclass

SLACK_SECONDS = 1.0  # times are asserted with this much room: the machine that measures is not always alone
TABLE: list[tuple[str, str, str, str]] = []


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured value and the bounds that it must keep."""

    what: str
    value: float
    least: float
    most: float
    unit: str = ""
    slack: float = 0.0

    @property
    def keeps(self) -> bool:
        """Whether the value lies within its bounds."""
        return self.least <= self.value <= self.most + self.slack

    @property
    def measured(self) -> str:
        """The value, as the table shows it."""
        return f"{self.what} {_number(self.value)}{self.unit}"

    @property
    def bound(self) -> str:
        """The bounds, as the table shows them."""
        if self.least == self.most:
            return f"= {_number(self.most)}{self.unit}"
        sign, limit = ("≤", self.most) if self.most != float("inf") else ("≥", self.least)
        return f"{sign} {_number(limit)}{self.unit}"


def seconds(what: str, value: float, *, most: float) -> Measure:
    """A time, with the slack that times have."""
    return Measure(what, value, 0.0, most, " s", SLACK_SECONDS)


def exactly(what: str, value: float, wanted: float) -> Measure:
    """A count that may be one number only."""
    return Measure(what, value, wanted, wanted)


def at_most(what: str, value: float, most: float) -> Measure:
    """A count or a ratio with a limit."""
    return Measure(what, value, 0, most)


def at_least(what: str, value: float, least: float) -> Measure:
    """A count or a ratio that must be reached."""
    return Measure(what, value, least, float("inf"))


def judge(fault: str, invariant: str, *measures: Measure) -> None:
    """Puts the line into the table, prints it, and fails where a bound is not kept."""
    measured = ", ".join(measure.measured for measure in measures)
    bound = ", ".join(measure.bound for measure in measures)
    TABLE.append((fault, invariant, measured, bound))
    print(" | ".join(TABLE[-1]))  # noqa: T201 - each test says its line, for whoever runs it with -s
    broken = [f"{measure.measured}, not {measure.bound}" for measure in measures if not measure.keeps]
    assert not broken, f"{fault} ({invariant}): {'; '.join(broken)}"


def table() -> list[str]:
    """The lines, in columns."""
    rows = [("fault", "invariant", "measured", "bound"), *TABLE]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2g}" if value < 1 else f"{value:.1f}"
