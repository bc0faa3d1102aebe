"""Owns `make audit`: reads every database and the provider, prints one line an invariant, counts violations."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta

from scripts.audit.findings import Reading
from scripts.audit.invariants import INVARIANTS
from scripts.audit.sources import Sources, open_databases, read_charges

SHOWN_MAX = 10  # violations of one invariant
SERVICES = ("auth", "inventory", "booking", "payment", "notification")


def audit(
    urls: Mapping[str, str], *, provider_key: str = "", provider_base: str | None = None, settle: timedelta
) -> tuple[dict[str, Reading], Sequence[str]]:
    """Judges every invariant; answers the readings by number, and what could not be judged."""
    with ExitStack() as stack:
        # First the provider, then our books: what it lists must be known to us, not the reverse.
        charges = read_charges(provider_key, provider_base) if provider_key else None
        sources = Sources(open_databases(stack, urls), charges, settle)
        readings = {invariant.number: invariant.check(sources) for invariant in INVARIANTS}
        return readings, sources.notes


def show(readings: Mapping[str, Reading], notes: Sequence[str]) -> int:
    """Prints the table; answers how many violations there are in all."""
    for invariant in INVARIANTS:
        reading = readings[invariant.number]
        print(f"{invariant.number:>4}  {len(reading.violations):6} of {reading.examined:<8} {invariant.promise}")
        for violation in reading.violations[:SHOWN_MAX]:
            print(f"        {violation.subject}: {violation.detail}")
        if len(reading.violations) > SHOWN_MAX:
            print(f"        and {len(reading.violations) - SHOWN_MAX} more")
    for note in notes:
        print(f"note: {note}")
    total = sum(len(reading.violations) for reading in readings.values())
    print(f"{total} violations")
    return total


def main() -> int:
    """Reads where the databases are from BERTH_AUDIT_…_URL, or asks the local stack; 0 only without violations."""
    parser = argparse.ArgumentParser(description="Count violations of the invariants.")
    parser.add_argument("--settle", type=float, default=60.0, help="seconds that things may still be on their way")
    given = parser.parse_args()
    environment = os.environ if f"BERTH_AUDIT_{SERVICES[0].upper()}_URL" in os.environ else _local()
    missing = [name for name in SERVICES if f"BERTH_AUDIT_{name.upper()}_URL" not in environment]
    if missing:
        print(f"No database to audit for {', '.join(missing)}: set BERTH_AUDIT_<SERVICE>_URL.", file=sys.stderr)
        return 2
    readings, notes = audit(
        {name: environment[f"BERTH_AUDIT_{name.upper()}_URL"] for name in SERVICES},
        provider_key=environment.get("BERTH_STRIPE_API_KEY", ""),
        provider_base=environment.get("BERTH_STRIPE_API_BASE"),
        settle=timedelta(seconds=given.settle),
    )
    return 1 if show(readings, notes) else 0


def _local() -> Mapping[str, str]:
    """What the local stack tells an auditor, as its own command prints it."""
    done = subprocess.run(
        [sys.executable, "-m", "infra.local", "audit-env"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"There is no mesh to audit here: {done.stderr.strip() or 'run make up'}")
    environment: Mapping[str, str] = json.loads(done.stdout)
    return environment


if __name__ == "__main__":
    raise SystemExit(main())
