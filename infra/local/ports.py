"""Which port each part gets: its own where it is free, another where it is taken, never one that a neighbour chose."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_STEPS = (0, 10_000, 20_000)
# Below the range that Linux draws outgoing connections' ports from, so that none is lost between choice and use.
_SPARE = range(20_000, 32_000)
_TRIES = 1000


def choose(preferred: int | None, taken: Callable[[int], bool], draw: Callable[[], int]) -> int:
    """The preferred port, the same plus ten or twenty thousand, or any spare one: the first that is not taken."""
    if preferred is not None:
        for step in _STEPS:
            if preferred + step < _SPARE.stop and not taken(preferred + step):
                return preferred + step
    for _ in range(_TRIES):
        port = draw()
        if not taken(port):
            return port
    raise RuntimeError("no free port found on this machine")


def claim(wishes: Mapping[str, int | None]) -> dict[str, int]:
    """A port for every name, held against other stacks on this machine for as long as this process lives.

    A wish of None takes any spare port: that is how a test's mesh stays out of a developer's way.
    """
    with _book() as claims:
        chosen: dict[str, int] = {}

        def taken(port: int) -> bool:
            return port in chosen.values() or port in claims or not _is_free(port)

        for name, preferred in wishes.items():
            chosen[name] = choose(preferred, taken, _draw)
        claims.update(dict.fromkeys(chosen.values(), os.getpid()))
    return chosen


def spare() -> int:
    """One spare port, for a test that starts a single part."""
    return claim({"": None})[""]


def _draw() -> int:
    return random.choice(_SPARE)  # noqa: S311 - spreads neighbours apart; no secret


@contextlib.contextmanager
def _book() -> Iterator[dict[int, int]]:
    """Port to pid of every stack of this user; entries of processes that ended are forgotten."""
    path = Path(tempfile.gettempdir()) / f"berth-ports-{os.getuid()}.json"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            claims = {int(port): int(pid) for port, pid in json.loads(file.read() or "{}").items()}
        except ValueError:  # cut off by a full disk or a kill: the ports themselves still tell what is taken
            claims = {}
        claims = {port: pid for port, pid in claims.items() if _lives(pid)}
        yield claims
        file.seek(0)
        file.truncate()
        json.dump(claims, file)


def _lives(pid: int) -> bool:
    try:
        # A killed process that nobody has waited for (Z) still has its entry; it holds nothing any more.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Closed connections of the last run linger for a minute; servers bind over them, so the probe must too.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True
