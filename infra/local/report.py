"""How a stack is shown: the table of `status` and `up`, and the same as JSON."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from infra.local.measure import costs
from infra.local.part import State

_SAMPLE_SECONDS = 0.5
_MIB = 1024 * 1024
# The demo hotel room of demo.toml; anybody may read it.
_FIRST_CALL = "/api/v1/resources/res_01kdwcj2m5faaspryz8sdw8sd1"


def measured(status: dict[str, Any], sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """The status with each part's memory and CPU, the latter over a short sample and since its start."""
    leaders = {name: part["pid"] for name, part in status["parts"].items() if part["pid"]}
    before = costs(leaders)
    supervisor = costs({"": status["supervisor"]["pid"]})[""]
    sleep(_SAMPLE_SECONDS)
    after = costs(leaders)
    for name, part in status["parts"].items():
        part["health"] = part["state"] if part["state"] != State.SERVING else "ok"
        if name in after:
            used = after[name].cpu_seconds - before[name].cpu_seconds
            part["pss_bytes"] = after[name].pss_bytes
            part["cpu_seconds"] = round(after[name].cpu_seconds, 2)
            part["cpu_percent"] = round(max(0.0, used) / _SAMPLE_SECONDS * 100, 1)
    # The supervisor's own, without what it keeps.
    parts = sum(part.get("pss_bytes", 0) for part in status["parts"].values())
    status["supervisor"]["pss_bytes"] = max(0, supervisor.pss_bytes - parts)
    status["pss_bytes"] = supervisor.pss_bytes
    return status


def table(status: Mapping[str, Any]) -> str:
    """The status as people read it."""
    rows = [("PART", "STATE", "URL", "PID", "MIB", "CPU %", "CPU S")]
    for name, part in status["parts"].items():
        cost = ("", "", "")
        if "pss_bytes" in part:
            cost = (f"{part['pss_bytes'] / _MIB:.0f}", f"{part['cpu_percent']:.0f}", f"{part['cpu_seconds']:.1f}")
        pid = "outside" if part["outside"] else str(part["pid"] or "")
        rows.append((name, part["state"], part["url"], pid, *cost))
    own = status["supervisor"]
    rows.append(("supervisor", "", "", str(own["pid"]), f"{own['pss_bytes'] / _MIB:.0f}", "", ""))
    rows.append(("all", "", "", "", f"{status['pss_bytes'] / _MIB:.0f}", "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), *_right(row[3:])]).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, *_remarks(status)])


def first_steps(status: Mapping[str, Any]) -> str:
    """What a newcomer can paste."""
    lines = ["", "Try:", f"  curl -s {status['gateway']['url']}{_FIRST_CALL} -H 'Berth-Tenant: demo'"]
    if status["mail"]["url"]:
        lines.append(f"  caught mail: {status['mail']['url']}")
    lines.append("  make demo · make status · make logs PART=booking · make down")
    return "\n".join(lines)


def _right(cells: tuple[str, ...]) -> list[str]:
    return [cell.rjust(width) for cell, width in zip(cells, (7, 6, 6, 7), strict=True)]


def _remarks(status: Mapping[str, Any]) -> list[str]:
    remarks = [
        f"{name}: port {wished} was taken, it is {got}" for name, (wished, got) in status["moved"].items() if wished
    ]
    for name, part in status["parts"].items():
        if part["reason"]:
            remarks.append(f"{name} is {part['state']}: {part['reason']}")
        if part["restarts"]:
            times = "once" if part["restarts"] == 1 else f"{part['restarts']} times"
            words = part["last_words"].replace("\n", "\n    ")
            remarks.append(f"{name} was started again {times}; last words: {words}")
    return ["", *remarks, *(f"!! {note}" for note in status["notes"])] if remarks or status["notes"] else []
