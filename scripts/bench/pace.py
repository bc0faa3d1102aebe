"""Owns the look at the machine itself while a load runs: how long one and the same loop takes on a processor.

The cores of a virtual machine are not always as quick. Where latencies rise together with this, it is not the software.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from scripts.bench.load import percentile

PAUSE_SECONDS = 1.0
ROUNDS = 150_000  # some 3 ms, so that looking costs next to nothing


class Look:
    """What was seen, while it is being seen: by the clock, the milliseconds that the loop took."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def take(self) -> None:
        """Look once."""
        began = time.thread_time()
        for number in range(ROUNDS):
            _ = number * number
        self.seen.append((time.time(), 1000 * (time.thread_time() - began)))

    def between(self, begin: float, end: float) -> float:
        """The median of a stretch of time; 0 where nobody looked."""
        return percentile([milliseconds for at, milliseconds in self.seen if begin <= at < end], 0.5)


class Window(NamedTuple):
    """A stretch of a load: when it began, what answers in it took, and the machine's pace."""

    second: float
    p50: float
    p95: float
    loop: float


@contextmanager
def watched() -> Iterator[Look]:
    """Look now and then until the block ends."""
    look, over = Look(), threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE_SECONDS):
            look.take()

    thread = threading.Thread(target=watch, name="pace", daemon=True)
    thread.start()
    try:
        yield look
    finally:
        over.set()
        thread.join()


def windows(begun: float, answers: Sequence[tuple[float, float]], look: Look, *, every: float) -> Sequence[Window]:
    """A load's course; `answers` are seconds after `begun`, and the milliseconds that the answer took."""
    found = []
    for number in range(int(max((second for second, _ in answers), default=0.0) // every) + 1):
        second = number * every
        taken = [milliseconds for at, milliseconds in answers if second <= at < second + every]
        if taken:
            loop = look.between(begun + second, begun + second + every)
            found.append(Window(second, percentile(taken, 0.5), percentile(taken, 0.95), loop))
    return found
