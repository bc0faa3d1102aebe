"""Owns what every measured part shares: a mesh, the sizes, who used the processor, and the audit that ends a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scripts.bench import cpu, load, pace, settle
from scripts.bench.load import Request
from scripts.bench.market import Market
from scripts.bench.table import LOAD, Line, Report
from tests.mesh import Mesh

CLIENTS = 32
WINDOW_SECONDS = 10.0  # of a load's course


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; every count is for one load."""

    warm_up: int = 300
    bookings: int = 3_000
    resources: int = 100
    cold_resources: int = 1_000
    holds: int = 3_000
    rounds: int = 3
    reads: int = 1_000
    rate: float = 116.0
    rate_seconds: float = 120.0
    profile_seconds: int = 20


QUICK = Sizes(
    warm_up=60,
    bookings=200,
    resources=20,
    cold_resources=100,
    holds=400,
    rounds=2,
    reads=200,
    rate_seconds=5.0,
    profile_seconds=8,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """One mesh being measured."""

    mesh: Mesh
    sizes: Sizes
    report: Report
    work: Path
    databases: Mapping[str, str]
    others: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Processes that serve in this mesh besides its own, or in place of them."""

    @property
    def market(self) -> Market:
        """Its marketplace."""
        return Market(self.mesh.gateway_url, self.work)

    def pids(self) -> dict[str, Sequence[int]]:
        """Every part's process."""
        parts = self.mesh.status()["parts"]
        return {**{name: [part["pid"]] for name, part in parts.items() if part["pid"]}, **self.others}

    def loaded(self, name: str, plan: load.Plan, *, drains: bool = True, mails: bool = True, note: str = "") -> Line:
        """Runs a load, waits until nothing is on its way, audits, and puts it all into the report.

        What a booking costs includes what it causes later: its events, its webhook and, with `mails`, its mail.
        """
        pids = self.pids()
        before = cpu.read(pids)
        with pace.watched() as look:
            result = load.run(plan, self.work)
        seconds = settle.drain(self.databases, mails=mails) if drains else 0.0
        count = len(plan.requests)
        costs = {part: 1000 * used / count for part, used in cpu.spent(before, cpu.read(pids)).items()}
        others = [f"{seen} {said}" for said, seen in sorted(result.outcomes.items()) if said != "CONFIRMED"]
        notes = [
            note,
            *others,
            f"drained {seconds:.1f} s later" if drains else "",
        ]
        line = Line(
            name,
            result.per_second,
            result.errors,
            (result.percentile(0.5), result.percentile(0.95), result.percentile(0.99)),
            settle.violations(self.mesh, self.databases) if drains else None,
            ", ".join(filter(None, notes)),
            {**costs, LOAD: 1000 * result.cpu_seconds / count},
            pace.windows(
                result.begun, list(zip(result.answered, result.milliseconds, strict=True)), look, every=WINDOW_SECONDS
            ),
        )
        self.report.lines.append(line)
        return line

    def warm_up(self, urls: Sequence[str], requests: Sequence[Request]) -> None:
        """A load that is not counted: everything is imported, connected and prepared after it."""
        load.run(load.Plan(urls, requests, CLIENTS), self.work)
