"""`make check`: every rule that needs no running service, two at a time, with what failed printed at the end."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.gen.third_party import gather

ROOT = Path(__file__).resolve().parents[1]
CODE = ("services", "gateway", "infra", "scripts", "tests")
RELEASED = "generated/released.binpb"
LIMIT_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Check:
    """One rule set and the command that enforces it."""

    name: str
    says: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended."""

    check: Check
    passed: bool
    seconds: float
    output: str


# The slow ones first, so that the quick ones fill the other core meanwhile.
CHECKS = (
    Check("types", "mypy, strictly, over all code", ("mypy", *CODE)),
    Check("generated", "generated/ is what the contracts say", ("python", "-m", "scripts.gen", "--check")),
    Check("audit", "dependencies: advisories, licences, hashes", ("python", "-m", "scripts.dependencies")),
    Check("imports", "who may import whom", ("lint-imports", "--no-cache")),
    Check("lint", "ruff's rules", ("ruff", "check")),
    Check("format", "ruff's format", ("ruff", "format", "--check")),
    Check("protos", "buf's rules for contracts", ("buf", "lint")),
    Check(
        "breaking",
        "no contract breaks its last release",
        ("buf", "breaking", "protos", "--against", RELEASED, "--exclude-imports"),
    ),
    Check("tidy", "names, lengths, reasons, rooms", ("python", "-m", "scripts.tidy")),
    Check(
        "contract",
        "what the contracts promise each other",
        ("pytest", "-q", "-p", "no:cacheprovider", "tests/contract"),
    ),
)


def run(check: Check, root: Path = ROOT) -> Outcome:
    """Runs one check in a checkout."""
    programs = Path(sys.executable).parent
    path = [str(root), str(root / "generated" / "python")]
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join(path),
        "NO_COLOR": "1",
    }
    began = time.monotonic()
    try:
        done = subprocess.run(
            [str(programs / check.command[0]), *check.command[1:]],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(check, passed=False, seconds=LIMIT_SECONDS, output="did not end in time")
    output = f"{done.stdout}{done.stderr}".strip()
    return Outcome(check, passed=done.returncode == 0, seconds=time.monotonic() - began, output=output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the named checks, or all."""
    parser = argparse.ArgumentParser(prog="check", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK", help=f"of {', '.join(check.name for check in CHECKS)}")
    wanted = parser.parse_args(arguments).names
    unknown = set(wanted) - {check.name for check in CHECKS}
    if unknown:
        parser.error(f"no such check: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    # Two checks read the third-party protos: on a fresh clone they are fetched once, before either runs.
    gather()
    chosen = [check for check in CHECKS if not wanted or check.name in wanted]
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(_run_and_tell, chosen))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        print(f"\n--- {outcome.check.name}: {' '.join(outcome.check.command)}\n{outcome.output}")
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _run_and_tell(check: Check) -> Outcome:
    outcome = run(check)
    print(
        f"{'ok    ' if outcome.passed else 'FAILED'}  {check.name:<10} {outcome.seconds:5.1f} s  {check.says}",
        flush=True,
    )
    # What a check has to say although it passed, such as an advisory database that could not be reached.
    if outcome.passed:
        for line in outcome.output.splitlines():
            if line.startswith("note:"):
                print(f"        {line}", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
