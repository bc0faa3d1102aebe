"""Owns what the bench prints: one table of loads, one of what each cost by part, and the ratios with their goals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scripts.bench.pace import Window

# In the order of a booking's way; whatever else was counted comes after them.
PARTS = (
    "gateway",
    "monolith",
    "booking",
    "inventory",
    "payment",
    "notification",
    "auth",
    "postgres",
    "kafka",
    "redis",
    "stripe",
    "mail",
)
LOAD = "load"  # the generator's own work, apart from everybody's
MIB = 1024 * 1024
LEAST_WINDOWS = 6  # of a load whose course is worth a table


@dataclass(frozen=True, slots=True)
class Line:
    """One load: how fast, how late, with how many errors, and how many violations the auditor found afterwards."""

    name: str
    per_second: float
    errors: int
    milliseconds: tuple[float, float, float] | None = None
    """Of the half, of 95 and of 99 in a hundred."""
    audit: int | None = None
    note: str = ""
    cpu_ms: Mapping[str, float] = field(default_factory=dict)
    """By part, for each request."""
    course: Sequence[Window] = ()
    """Stretch by stretch."""

    @property
    def cpu_total(self) -> float:
        """What one request cost everybody but the generator."""
        return sum(milliseconds for part, milliseconds in self.cpu_ms.items() if part != LOAD)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure with its goal."""

    name: str
    value: float
    goal: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal


@dataclass(slots=True)
class Report:
    """Everything that was measured, in the order in which it was."""

    lines: list[Line] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    start_seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)

    def line(self, name: str) -> Line | None:
        """A load by its name, if it was run."""
        return next((line for line in self.lines if line.name == name), None)

    @property
    def violations(self) -> int:
        """What the auditor found in all."""
        return sum(line.audit or 0 for line in self.lines)

    def text(self) -> str:
        """The whole table."""
        blocks = [self._loads(), *self._courses(), self._costs(), self._ratios(), self._standing()]
        return "\n\n".join(block for block in blocks if block)

    def _loads(self) -> str:
        if not self.lines:
            return ""
        rows = [["", "a second", "p50 ms", "p95 ms", "p99 ms", "errors", "audit", "CPU ms each", ""]]
        for line in self.lines:
            latencies = [f"{value:.1f}" for value in line.milliseconds] if line.milliseconds else ["", "", ""]
            audit = "" if line.audit is None else str(line.audit)
            cost = f"{line.cpu_total:.2f}" if line.cpu_ms else ""
            rows.append(
                [line.name, f"{line.per_second:.1f}", *latencies, str(line.errors), audit, cost, line.note],
            )
        return aligned(rows)

    def _courses(self) -> Iterable[str]:
        for line in self.lines:
            if len(line.course) < LEAST_WINDOWS:
                continue
            rows = [[f"{line.name}, from second", "p50 ms", "p95 ms", "a loop took ms"]]
            rows += [
                [f"{window.second:.0f}", f"{window.p50:.0f}", f"{window.p95:.0f}", f"{window.loop:.2f}"]
                for window in line.course
            ]
            yield aligned(rows)

    def _costs(self) -> str:
        lines = [line for line in self.lines if line.cpu_ms]
        if not lines:
            return ""
        seen = {part for line in lines for part in line.cpu_ms}
        ordered = [part for part in PARTS if part in seen] + sorted(seen - {*PARTS, LOAD}) + [LOAD]
        rows = [["CPU ms each", *(line.name for line in lines)]]
        rows += [
            [part, *(f"{line.cpu_ms[part]:.2f}" if part in line.cpu_ms else "" for line in lines)] for part in ordered
        ]
        rows.append([f"all but {LOAD}", *(f"{line.cpu_total:.2f}" for line in lines)])
        return aligned(rows)

    def _ratios(self) -> str:
        if not self.ratios:
            return ""
        rows = [["ratio", "", "goal", ""]]
        for ratio in self.ratios:
            bound = f"{'≥' if ratio.at_least else '≤'} {ratio.goal:g}"
            rows.append([ratio.name, f"{ratio.value:.2f}", bound, "met" if ratio.met else "missed"])
        return aligned(rows)

    def _standing(self) -> str:
        if not self.memory:
            return ""
        rows = [["standing", "serves after s", "MiB (PSS)"]]
        rows += [
            [part, f"{self.start_seconds[part]:.1f}" if part in self.start_seconds else "", f"{size / MIB:.0f}"]
            for part, size in self.memory.items()
        ]
        whole = max(self.start_seconds.values(), default=0.0)
        rows.append(["all", f"{whole:.1f}", f"{sum(self.memory.values()) / MIB:.0f}"])
        return aligned(rows)


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as text: the first column to the left, the others to the right, the last words as they are."""
    table = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in table if column < len(row)) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in table
    )
