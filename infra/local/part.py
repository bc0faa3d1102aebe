"""What a part of the stack is: what it needs, how it is prepared and started, and how to tell that it serves."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

Tell = Callable[[str], None]


class State(StrEnum):
    """Where a part is in its life."""

    WAITING = "waiting"  # for the parts it needs
    PREPARING = "preparing"  # something done once: jars, a schema, demo data
    STARTING = "starting"  # the process runs and does not serve yet
    SERVING = "serving"
    UNWELL = "unwell"  # the process runs and has stopped serving
    DOWN = "down"  # it died, and starts again after a pause
    STOPPED = "stopped"  # by order


@dataclass(frozen=True, slots=True)
class Run:
    """One process to start."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the stack. Callables that answer a text answer why something is not so; None means that it is."""

    name: str
    url: Callable[[], str]
    refusal: Callable[[], Awaitable[str | None]]
    # None: an outside part, which is only watched.
    run: Callable[[], Run] | None = None
    # Parts that must have served before this one is prepared, and before it starts.
    prepare_after: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    # Done once before the first start (or before each), and once after it first serves, before others may rely on it.
    prepare: Callable[[Tell], Awaitable[None]] | None = None
    prepare_always: bool = False
    settle: Callable[[Tell], Awaitable[None]] | None = None
    log: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # Longer than a service takes to drain; what has not ended by then is killed.
    stop_seconds: float = 15.0


def backoff(deaths: int) -> float:
    """Seconds until the next start after so many deaths in a row: half a second, doubled up to fifteen."""
    return min(15.0, 0.5 * 2.0 ** max(0, min(deaths, 10) - 1))


def ended(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
