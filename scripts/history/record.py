"""Owns the recording of a concurrent history: who asked for what, when, and what the answer said."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What a client asked for."""

    TAKE = "take"
    """Units of some cells, all or none."""
    FREE = "free"
    """The units of an earlier take back."""


class Outcome(StrEnum):
    """What the client knows afterwards."""

    OK = "ok"
    """It took effect, once, between the call and its answer."""
    REFUSED = "refused"
    """The units were not free: nothing took effect."""
    FAILED = "failed"
    """It was undone: units may have been kept for a while between the call and its answer, none are now."""
    UNKNOWN = "unknown"
    """No answer came: it may take effect at any time after the call, or never."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of one client. Times are one monotonic clock's, in seconds."""

    client: int
    kind: Kind
    name: str
    """Names the take: a free carries the name of the take that it ends."""
    cells: tuple[str, ...]
    """What is asked for: one resource and night (or slot) each."""
    quantity: int
    invoked: float
    answered: float
    outcome: Outcome


class History:
    """Collects operations from many threads or tasks and writes them down."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._operations: list[Operation] = []

    @contextmanager
    def call(self, client: int, kind: Kind, name: str, cells: Iterable[str], quantity: int = 1) -> Iterator[Answer]:
        """Times one call; the body says how it ended, and a body that raises or says nothing leaves it unknown."""
        answer = Answer()
        invoked = self._clock()
        try:
            yield answer
        finally:
            with self._lock:
                operation = Operation(
                    client, kind, name, tuple(sorted(cells)), quantity, invoked, self._clock(), answer.outcome
                )
                self._operations.append(operation)

    def operations(self) -> list[Operation]:
        """Everything recorded so far, in the order of the calls."""
        with self._lock:
            return sorted(self._operations, key=lambda operation: operation.invoked)

    def write(self, path: Path) -> None:
        """Writes one JSON object a line."""
        path.write_text("".join(json.dumps(asdict(operation)) + "\n" for operation in self.operations()))


class Answer:
    """What the body of `History.call` says of its call."""

    def __init__(self) -> None:
        self.outcome = Outcome.UNKNOWN


def read(path: Path) -> list[Operation]:
    """Reads what `History.write` wrote."""
    operations = []
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        fields |= {
            "kind": Kind(fields["kind"]),
            "outcome": Outcome(fields["outcome"]),
            "cells": tuple(fields["cells"]),
        }
        operations.append(Operation(**fields))
    return sorted(operations, key=lambda operation: operation.invoked)
