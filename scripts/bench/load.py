"""Owns the load: a process of its own that sends prepared requests, at a rate or as fast as they are answered.

At a rate the schedule does not wait for answers, and a late start counts as latency: a stalling server is not let off.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

REQUEST_TIMEOUT_SECONDS = 30.0
CONNECTIONS_MAX = 512


@dataclass(frozen=True, slots=True)
class Request:
    """One prepared call."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the requests are sent: `rate` a second when it is positive, else by `clients` that each wait for answers."""

    base_url: str
    requests: Sequence[Request]
    clients: int = 32
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came back."""

    seconds: float
    milliseconds: Sequence[float]
    statuses: Mapping[str, int]
    states: Mapping[str, int]
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.milliseconds) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of the answers did not exceed."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def errors(self) -> int:
        """Answers that were no success, and calls without an answer."""
        return sum(count for status, count in self.statuses.items() if not status.startswith("2"))


def run(plan: Plan, work: Path) -> Result:
    """Runs a plan in a process of its own, so that its work is not counted as anybody else's."""
    work.mkdir(parents=True, exist_ok=True)
    plan_file, result_file = work / "plan.json", work / "result.json"
    plan_file.write_text(json.dumps(asdict(plan)))
    subprocess.run([sys.executable, "-m", "scripts.bench.load", str(plan_file), str(result_file)], check=True)
    return Result(**json.loads(result_file.read_text()))


async def _send_all(plan: Plan) -> Result:
    import aiohttp

    milliseconds: list[float] = []
    statuses: Counter[str] = Counter()
    states: Counter[str] = Counter()
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)

    async with aiohttp.ClientSession(plan.base_url, timeout=timeout, connector=connector) as session:

        async def send(request: Request, due: float) -> None:
            try:
                async with session.request(
                    request.method, request.path, headers=request.headers, json=request.body
                ) as response:
                    answer = await response.json(content_type=None)
                    statuses[str(response.status)] += 1
                    if isinstance(answer, dict) and "status" in answer:
                        states[str(answer["status"])] += 1
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                statuses[type(error).__name__] += 1
            milliseconds.append((time.perf_counter() - due) * 1000)

        async def at_rate(started: float) -> None:
            async with asyncio.TaskGroup() as group:
                for number, request in enumerate(plan.requests):
                    due = started + number / plan.rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    group.create_task(send(request, due))

        async def one_client(waiting: list[Request]) -> None:
            while waiting:
                await send(waiting.pop(), time.perf_counter())

        started, busy = time.perf_counter(), time.process_time()
        if plan.rate > 0:
            await at_rate(started)
        else:
            waiting = list(reversed(plan.requests))
            await asyncio.gather(*(one_client(waiting) for _ in range(plan.clients)))
        seconds = time.perf_counter() - started
    return Result(seconds, milliseconds, dict(statuses), dict(states), time.process_time() - busy)


def main() -> None:
    """Entry of the process that `run` starts: plan file in, result file out."""
    import uvloop

    fields = json.loads(Path(sys.argv[1]).read_text())
    fields["requests"] = [Request(**request) for request in fields["requests"]]
    result = uvloop.run(_send_all(Plan(**fields)))
    Path(sys.argv[2]).write_text(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
