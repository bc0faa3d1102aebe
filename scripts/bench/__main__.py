"""Owns `make bench`: a mesh of its own on free ports, durable as production is, measured part by part, one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.bench import bookings, cpu, holds, profile, reading, settle
from scripts.bench.ground import QUICK, Bench, Sizes
from scripts.bench.table import Ratio, Report
from tests.mesh import Mesh, start_mesh

# As production would: an acknowledged commit is on the disk.
DURABLE = {"BERTH_LOCAL_DURABLE": "1"}
ERRORS_GOAL, P95_GOAL_MS = 0, 500.0
SKELETON_AIM, MONOLITH_AIM = 0.35, 0.8

Measurement = Callable[[Bench], None]
# In this order: what leaves a mesh busy comes last.
IN_ONE_MESH: Mapping[str, Measurement] = {
    "bookings": bookings.through_mesh,
    "holds": holds.hot_and_cold,
    "reads": reading.rest_and_grpc,
    "skeleton": bookings.through_skeleton,
    "rate": bookings.at_rate,
}
STANDING, MONOLITH, PROFILE = "standing", "monolith", "profile"
ALL = (STANDING, *IN_ONE_MESH, MONOLITH)


def main() -> int:
    """Entry: everything, or what --only names; 1 where the auditor found something."""
    given = _arguments()
    sizes, report = QUICK if given.quick else Sizes(), Report()
    chosen = given.only or ALL
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
        work = Path(folder)
        if set(chosen) - {MONOLITH}:
            _in_one_mesh(chosen, sizes, report, work)
        if MONOLITH in chosen:
            with start_mesh(work / "mesh-2", DURABLE) as mesh:
                _measure(MONOLITH, bookings.through_monolith, _bench(mesh, sizes, report, work))
    report.ratios = [*_ratios(report), *report.ratios]
    print(f"\n{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, PostgreSQL durable")
    print(report.text())
    print(f"\naudit: {report.violations} violations after all loads")
    return 1 if report.violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure what a booking costs.")
    parser.add_argument("--quick", action="store_true", help="small numbers: does it work, not how fast it is")
    parser.add_argument(
        "--only", action="append", choices=[*ALL, PROFILE], help="one part alone; may be given several times"
    )
    return parser.parse_args()


def _in_one_mesh(chosen: tuple[str, ...], sizes: Sizes, report: Report, work: Path) -> None:
    before = time.time()
    with start_mesh(work / "mesh", DURABLE) as mesh:
        bench = _bench(mesh, sizes, report, work)
        if STANDING in chosen:
            _stand(bench, before)
        for name, measurement in IN_ONE_MESH.items():
            if name in chosen:
                _measure(name, measurement, bench)
        if PROFILE in chosen:
            _say(PROFILE)
            print(profile.profiled(bench))


def _bench(mesh: Mesh, sizes: Sizes, report: Report, work: Path) -> Bench:
    return Bench(mesh, sizes, report, work, settle.urls(mesh))


def _measure(name: str, measurement: Measurement, bench: Bench) -> None:
    _say(name)
    measurement(bench)


def _say(name: str) -> None:
    print(f"measuring {name} …", file=sys.stderr, flush=True)


def _stand(bench: Bench, before: float) -> None:
    """What a mesh costs that has just started and does nothing yet."""
    parts = bench.mesh.status()["parts"]
    bench.report.start_seconds = {name: part["since"] - before for name, part in parts.items()}
    bench.report.memory = {name: cost.pss_bytes for name, cost in cpu.read(bench.pids()).items()}


def _ratios(report: Report) -> list[Ratio]:
    mesh, rate = report.line(bookings.MESH), report.line(bookings.RATE)
    found = []
    for name, other, aim in (
        ("mesh ÷ skeleton, bookings a second", report.line(bookings.SKELETON), SKELETON_AIM),
        ("mesh ÷ monolith, bookings a second", report.line(bookings.MONOLITH), MONOLITH_AIM),
    ):
        if mesh is not None and other is not None and other.per_second:
            found.append(Ratio(name, mesh.per_second / other.per_second, aim))
    if rate is not None and rate.milliseconds is not None:
        found.append(Ratio("errors at the rate", rate.errors, ERRORS_GOAL, at_least=False))
        found.append(Ratio("p95 ms at the rate", rate.milliseconds[1], P95_GOAL_MS, at_least=False))
    return found


if __name__ == "__main__":
    raise SystemExit(main())
