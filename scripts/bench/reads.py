"""Owns the comparison of one read over REST and over gRPC: turn by turn, one connection each, through the gateway."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from scripts.bench import apart, calls

WARM_UP = 50  # reads each way that are not counted
ONE_CONNECTION = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The same object by both ways, `count` times each."""

    base_url: str
    path: str
    headers: Mapping[str, str]
    address: str
    method: str
    request: str
    metadata: Sequence[Sequence[str]]
    count: int


@dataclass(frozen=True, slots=True)
class Result:
    """The latencies in milliseconds, as they came."""

    rest: Sequence[float]
    grpc: Sequence[float]

    @staticmethod
    def median(milliseconds: Sequence[float]) -> float:
        """The one in the middle."""
        return sorted(milliseconds)[len(milliseconds) // 2]

    @property
    def ratio(self) -> float:
        """REST's median over gRPC's."""
        return self.median(self.rest) / self.median(self.grpc)


def run(plan: Plan, work: Path) -> Result:
    """Runs a plan in a process of its own."""
    return Result(**apart.run("scripts.bench.reads", plan, work))


async def _read_all(plan: Plan) -> Result:
    import aiohttp

    over_rest: list[float] = []
    over_grpc: list[float] = []
    connector = aiohttp.TCPConnector(limit=ONE_CONNECTION)
    metadata = tuple((name, value) for name, value in plan.metadata)
    async with (
        aiohttp.ClientSession(plan.base_url, connector=connector, headers=plan.headers) as session,
        calls.open_channel(calls.Peer(plan.address)) as channel,
    ):
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(plan.method)
        request = bytes.fromhex(plan.request)
        for number in range(plan.count + WARM_UP):
            started = time.perf_counter()
            async with session.get(plan.path) as response:
                await response.read()
                response.raise_for_status()
            between = time.perf_counter()
            await method(request, metadata=metadata, timeout=calls.CALL_TIMEOUT_SECONDS)
            ended = time.perf_counter()
            if number >= WARM_UP:
                over_rest.append((between - started) * 1000)
                over_grpc.append((ended - between) * 1000)
    return Result(over_rest, over_grpc)


async def _work(fields: dict[str, Any]) -> Result:
    return await _read_all(Plan(**fields))


if __name__ == "__main__":
    apart.serve(_work)
