"""Owns measuring processes: a plan goes in as JSON, a result comes out, and their work is counted as nobody else's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

LONGEST_SECONDS = 600.0  # that one measurement may take


def run(module: str, plan: object, work: Path) -> Mapping[str, Any]:
    """Has a module of this package work a plan (a dataclass) off; answers its result's fields."""
    if not is_dataclass(plan) or isinstance(plan, type):
        raise TypeError(f"A plan is a dataclass, not {plan!r}.")
    work.mkdir(parents=True, exist_ok=True)
    plan_file, result_file = work / "plan.json", work / "result.json"
    plan_file.write_text(json.dumps(asdict(plan)))
    result_file.unlink(missing_ok=True)
    line = [sys.executable, "-m", module, str(plan_file), str(result_file)]
    subprocess.run(line, check=True, timeout=LONGEST_SECONDS)
    result: Mapping[str, Any] = json.loads(result_file.read_text())
    return result


def serve(work: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
    """The other end: reads the plan's fields, runs `work`, writes the dataclass that it answers."""
    import uvloop

    fields: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())

    async def go() -> object:
        return await work(fields)

    result = uvloop.run(go())
    Path(sys.argv[2]).write_text(json.dumps(asdict(result)))  # type: ignore[call-overload]  # a dataclass, as said
