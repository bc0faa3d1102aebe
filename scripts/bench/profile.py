"""Owns the profile: what booking, inventory and payment do with their time under load, sampled from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.bench import load, settle
from scripts.bench.ground import CLIENTS, Bench
from scripts.bench.table import aligned

PROFILED = ("booking", "inventory", "payment", "notification")
SAMPLES_A_SECOND = 100  # of whoever holds the interpreter's lock: who waits is not counted
SHOWN = 14
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(:\d+)?\)$")
# Where a file belongs: the first that fits; what fits none is named by its package.
_ROOMS = (
    (re.compile(r"services/chassis/rpc/interceptors/(\w+)"), r"interceptor \1"),
    (re.compile(r"services/chassis/(\w+)"), r"chassis \1"),
    (re.compile(r"services/\w+/(\w+)"), r"service \1"),
    (re.compile(r"(grpc|grpc_interceptor)/"), "grpc"),
    (re.compile(r"(psycopg|psycopg_pool)/"), "psycopg"),
    (re.compile(r"sqlalchemy/"), "sqlalchemy"),
    (re.compile(r"(stripe|aiohttp)/"), "provider's SDK and HTTP"),
    (re.compile(r"(asyncio|uvloop)/|^<frozen|contextlib"), "event loop"),
    (re.compile(r"(logging|json)/"), "logging and JSON"),
)


def profiled(bench: Bench) -> str:
    """Samples the services under load; answers what cost most, by room and by function."""
    market, sizes, url = bench.market, bench.sizes, [bench.mesh.gateway_url]
    token, resources = market.sign_in("customer"), market.make_resources(sizes.resources)
    bench.warm_up(url, market.bookings(sizes.warm_up, resources, token))
    files = {name: bench.work / f"profile-{name}.txt" for name in PROFILED}
    spies = [_spy(bench.mesh.part(name).pid, sizes.profile_seconds, file) for name, file in files.items()]
    requests = market.bookings(sizes.bookings, resources, token)
    try:
        load.run(load.Plan(url, requests, CLIENTS), bench.work)
    finally:
        for spy in spies:
            spy.wait()
    settle.drain(bench.databases)
    return "\n\n".join(_summary(name, file.read_text().splitlines()) for name, file in files.items())


def _spy(pid: int, seconds: int, file: Path) -> subprocess.Popen[bytes]:
    line = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(pid), "--duration", str(seconds)]
    line += ["--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--output", str(file), "--gil"]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _summary(name: str, folded: Iterable[str]) -> str:
    rooms, functions, total = weigh(folded)
    rows = [[f"{name}, share of {total} samples", "%"]]
    rows += [[room, f"{100 * share:.1f}"] for room, share in _largest(rooms, total)]
    rows.append(["of these, with all that it calls", ""])
    rows += [[function, f"{100 * share:.1f}"] for function, share in _largest(functions, total)]
    return aligned(rows)


def weigh(folded: Iterable[str]) -> tuple[Mapping[str, int], Mapping[str, int], int]:
    """Samples by the room where the time was spent, by our own functions with all they call, and how many in all."""
    rooms: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    total = 0
    for line in folded:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        total += int(count)
        rooms[_room(frames[-1])] += int(count)
        for function in {_function(frame) for frame in frames if _is_telling(frame)}:
            functions[function] += int(count)
    return rooms, functions, total


def _is_telling(frame: str) -> bool:
    # Ours, but not the interceptors' frames, which lie around everything.
    return "(services/" in frame and "(services/chassis/rpc/interceptors/" not in frame


def _room(frame: str) -> str:
    found = _FRAME.match(frame)
    file = found["file"] if found else frame
    for pattern, name in _ROOMS:
        inside = pattern.search(file)
        if inside:
            return inside.expand(name)
    return file.partition("/")[0]


def _function(frame: str) -> str:
    found = _FRAME.match(frame)
    return f"{found['function']} ({found['file']})" if found else frame


def _largest(counted: Mapping[str, int], total: int) -> Iterable[tuple[str, float]]:
    return [(name, count / max(1, total)) for name, count in Counter(counted).most_common(SHOWN)]
