"""Owns the load over gRPC: a process of its own that sends prepared bytes over one channel, as fast as answered."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from scripts.bench import apart

CALL_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom to call, and as whom: with a certificate of the folder `tls`, or in plain text where there is none."""

    address: str
    service: str = ""
    tls: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """One method's calls: each request as hexadecimal text, sent by `clients` that each wait for their answers."""

    peer: Peer
    method: str
    requests: Sequence[str]
    metadata: Sequence[Sequence[str]] = ()
    clients: int = 64


@dataclass(frozen=True, slots=True)
class Result:
    """What came back."""

    seconds: float
    codes: Mapping[str, int]


def run(plan: Plan, work: Path) -> Result:
    """Runs a plan in a process of its own."""
    return Result(**apart.run("scripts.bench.calls", plan, work))


def open_channel(peer: Peer) -> grpc.aio.Channel:
    """A channel to the peer; messages go over it as bytes."""
    if not peer.tls:
        return grpc.aio.insecure_channel(peer.address)
    folder = Path(peer.tls)
    ca, key, certificate = (
        (folder / name).read_bytes() for name in ("ca.crt", f"{peer.identity}.key", f"{peer.identity}.crt")
    )
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    return grpc.aio.secure_channel(peer.address, credentials, [("grpc.ssl_target_name_override", peer.service)])


async def _call_all(plan: Plan) -> Result:
    codes: Counter[str] = Counter()
    metadata = tuple((name, value) for name, value in plan.metadata)
    waiting = [bytes.fromhex(request) for request in reversed(plan.requests)]
    async with open_channel(plan.peer) as channel:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(plan.method)
        await channel.channel_ready()

        async def one_client() -> None:
            while waiting:
                try:
                    await method(waiting.pop(), metadata=metadata, timeout=CALL_TIMEOUT_SECONDS)
                    codes["OK"] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code().name] += 1

        started = time.perf_counter()
        await asyncio.gather(*(one_client() for _ in range(plan.clients)))
        seconds = time.perf_counter() - started
    return Result(seconds, dict(codes))


async def _work(fields: dict[str, Any]) -> Result:
    fields["peer"] = Peer(**fields["peer"])
    return await _call_all(Plan(**fields))


if __name__ == "__main__":
    apart.serve(_work)
