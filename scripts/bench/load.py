"""Owns the load over REST: a process of its own that sends prepared requests, at a rate or as fast as answered.

At a rate the schedule does not wait for answers, and a late start counts as latency: a stalling server is not let off.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from scripts.bench import apart

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

    base_urls: Sequence[str]
    """Taken in turn."""
    requests: Sequence[Request]
    clients: int = 32
    rate: float = 0.0
    keep: str = ""
    """The field of each answer that the result carries."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came back."""

    seconds: float
    milliseconds: Sequence[float]
    statuses: Mapping[str, int]
    outcomes: Mapping[str, int]
    """What the answers said: a booking's status, or why there is none; none for what was not answered."""
    cpu_seconds: float
    begun: float = 0.0
    """By the clock."""
    answered: Sequence[float] = ()
    """Seconds after that, for each of `milliseconds`."""
    kept: Sequence[str] = ()

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.milliseconds) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of the answers did not exceed."""
        return percentile(self.milliseconds, share)

    @property
    def errors(self) -> int:
        """Answers that were no success, and calls without an answer."""
        return sum(count for status, count in self.statuses.items() if not status.startswith("2"))


def percentile(milliseconds: Sequence[float], share: float) -> float:
    """What this share of them did not exceed; 0 where there are none."""
    ordered = sorted(milliseconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def outcome(http_status: int, answer: Mapping[str, Any]) -> str:
    """What an answer says: its `status`, or the reason of the refusal."""
    if "status" in answer:
        return str(answer["status"])
    reasons = (detail["reason"] for detail in answer.get("details", ()) if "reason" in detail)
    return f"{http_status} {next(reasons, 'without a reason')}"


def run(plan: Plan, work: Path) -> Result:
    """Runs a plan in a process of its own."""
    return Result(**apart.run("scripts.bench.load", plan, work))


async def _send_all(plan: Plan) -> Result:
    import aiohttp

    milliseconds: list[float] = []
    answered: list[float] = []
    statuses: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    kept: list[str] = []
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)

    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        addresses = cycle(plan.base_urls)

        async def send(request: Request, due: float) -> None:
            try:
                async with session.request(
                    request.method, next(addresses) + request.path, headers=request.headers, json=request.body
                ) as response:
                    answer = await response.json(content_type=None)
                    statuses[str(response.status)] += 1
                    if isinstance(answer, dict):
                        outcomes[outcome(response.status, answer)] += 1
                        if plan.keep in answer:
                            kept.append(answer[plan.keep])
            except (TimeoutError, aiohttp.ClientError, ValueError) as error:
                statuses[type(error).__name__] += 1
            now = time.perf_counter()
            milliseconds.append((now - due) * 1000)
            answered.append(now - started)

        async def at_rate(started: float) -> None:
            async with asyncio.TaskGroup() as group:
                for number, request in enumerate(plan.requests):
                    due = started + number / plan.rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    group.create_task(send(request, due))

        async def one_client(waiting: list[Request]) -> None:
            while waiting:
                await send(waiting.pop(), time.perf_counter())

        begun, started, busy = time.time(), time.perf_counter(), time.process_time()
        if plan.rate > 0:
            await at_rate(started)
        else:
            waiting = list(reversed(plan.requests))
            await asyncio.gather(*(one_client(waiting) for _ in range(plan.clients)))
        seconds = time.perf_counter() - started
    used = time.process_time() - busy
    return Result(seconds, milliseconds, dict(statuses), dict(outcomes), used, begun, answered, kept)


async def _work(fields: dict[str, Any]) -> Result:
    fields["requests"] = [Request(**request) for request in fields["requests"]]
    return await _send_all(Plan(**fields))


if __name__ == "__main__":
    apart.serve(_work)
