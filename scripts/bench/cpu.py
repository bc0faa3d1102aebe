"""Owns the reading of what processes cost: CPU time and proportional memory, by name, with their children."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
KIB = 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What one part has used so far, and what it now keeps."""

    cpu_seconds: float
    pss_bytes: int


def read(parts: Mapping[str, Iterable[int]]) -> dict[str, Cost]:
    """Reads every part's processes and all that they started; a process that has gone counts nothing."""
    children = _children()
    return {
        name: _sum(_cost(pid) for root in roots for pid in _with_descendants(root, children))
        for name, roots in parts.items()
    }


def spent(before: Mapping[str, Cost], after: Mapping[str, Cost]) -> dict[str, float]:
    """CPU seconds that each part used between two readings."""
    return {name: after[name].cpu_seconds - before[name].cpu_seconds for name in before}


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        fields = _stat(int(folder.name))
        if fields:
            found.setdefault(int(fields[1]), []).append(int(folder.name))
    return found


def _with_descendants(root: int, children: Mapping[int, list[int]]) -> list[int]:
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name: state, parent, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cost(pid: int) -> Cost:
    fields = _stat(pid)
    if not fields:
        return Cost(0.0, 0)
    # Its own time and that of its children which have ended.
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))
    return Cost(ticks / TICKS_A_SECOND, _pss(pid))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("Pss:"))


def _sum(costs: Iterable[Cost]) -> Cost:
    cpu, pss = 0.0, 0
    for cost in costs:
        cpu, pss = cpu + cost.cpu_seconds, pss + cost.pss_bytes
    return Cost(cpu, pss)
