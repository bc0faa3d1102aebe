"""Owns the command `python -m scripts.history FILE --capacity CELL=N …`: checks a recorded history from a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.history.check import Verdict, check
from scripts.history.record import read


def main() -> int:
    """Prints the verdict; the exit code is 0 only for a history that is explained."""
    parser = argparse.ArgumentParser(description="Check a recorded history of concurrent takes and frees.")
    parser.add_argument("file", type=Path, help="one operation a line, as JSON")
    parser.add_argument("--capacity", type=int, default=1, help="units of every cell that --cell does not name")
    parser.add_argument("--cell", action="append", default=[], metavar="CELL=N", help="units of one cell")
    arguments = parser.parse_args()
    operations = read(arguments.file)
    capacity = {cell: arguments.capacity for operation in operations for cell in operation.cells}
    for pair in arguments.cell:
        cell, _, units = pair.rpartition("=")
        capacity[cell] = int(units)
    finding = check(operations, capacity)
    print(f"{len(operations)} operations: {finding.verdict}{': ' + finding.detail if finding.detail else ''}")
    return 0 if finding.verdict is Verdict.EXPLAINED else 1


if __name__ == "__main__":
    raise SystemExit(main())
