"""What a process group costs: proportional memory (PSS) and CPU time, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Memory now and CPU time since the start, of a process and everything below it."""

    pids: tuple[int, ...]
    pss_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    cpu_seconds: float


def costs(leaders: Mapping[str, int]) -> dict[str, Cost]:
    """The cost of each named process with its descendants; a process that is gone costs nothing."""
    table = _table()
    children: dict[int, list[int]] = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    return {name: _cost(_family(leader, children), table) for name, leader in leaders.items()}


def _cost(pids: list[int], table: Mapping[int, _Process]) -> Cost:
    alive = tuple(pid for pid in pids if pid in table)
    return Cost(alive, sum(_pss(pid) for pid in alive), sum(table[pid].cpu_seconds for pid in alive))


def _family(leader: int, children: Mapping[int, list[int]]) -> list[int]:
    found = [leader]
    for pid in found:  # grows while it is walked: a breadth-first walk down the tree
        found.extend(children.get(pid, ()))
    return found


def _table() -> dict[int, _Process]:
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The command's name may hold spaces and brackets: the fields begin after the last bracket.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # Of a dead child that nobody waited for, the parent's own count includes the time once it is reaped.
            table[int(entry.name)] = _Process(int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS)
    return table


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # gone meanwhile, or another user's
    return 0
