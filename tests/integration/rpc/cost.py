"""Measures what the interceptors and the client side cost: one echo through both, against bare grpc.aio.

Run it alone on an idle machine: `python -m tests.integration.rpc.cost`.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import uvloop
from berth.inventory.v1 import availability_service_pb2 as inventory
from berth.inventory.v1.availability_service_pb2_grpc import HoldServiceStub, add_HoldServiceServicer_to_server
from prometheus_client import CollectorRegistry

from infra.local import pki
from services.chassis.clock import SystemClock
from services.chassis.config import Address, Peers, ServiceConfig
from services.chassis.principal import Principal
from services.chassis.rpc import context
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.health import Health
from services.chassis.rpc.method import Wiring
from services.chassis.rpc.server import Server
from services.chassis.telemetry import logs
from services.chassis.telemetry.metrics import RpcMetrics
from services.chassis.tokens.keys import KeySet
from services.chassis.tokens.verify import TokenVerifier
from tests.integration.rpc.serving import TENANT, USER, Keys, Tenants, healthy

CALLS = 1_000  # a round
ROUNDS = 12
REQUEST = inventory.GetHoldRequest(hold_id=f"hld_{TENANT[4:]}")
ANSWER = inventory.Hold(hold_id=f"hld_{TENANT[4:]}")


class Echo:
    """Answers at once."""

    async def GetHold(self, _request: object, _context: object) -> inventory.Hold:  # noqa: N802 - the contract's name
        return ANSWER

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.GetHold


async def cpu_of(ways: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """CPU milliseconds that a call takes each way, client and server together: both run in this process.

    The ways take turns, and the best round of each counts: a neighbour's load only ever adds.
    """
    best = dict.fromkeys(ways, float("inf"))
    for round_number in range(ROUNDS + 1):
        for name, call in ways.items():
            began = time.process_time()
            for _ in range(CALLS):
                await call()
            if round_number:  # the first warms up
                best[name] = min(best[name], (time.process_time() - began) / CALLS * 1000)
    return best


async def measure(directory: Path) -> dict[str, float]:
    """Each way's cost in CPU milliseconds a call."""
    pki.ensure(directory, ("inventory", "gateway", "operator"), dt.datetime.now(dt.UTC))
    own, gateway = pki.pair(directory, "inventory"), pki.pair(directory, "gateway")
    config = ServiceConfig(
        listen=Address("127.0.0.1", 0),
        database_url="",
        worker_database_url="",
        tls_ca=pki.pair(directory, "ca").certificate,
        tls_cert=own.certificate,
        tls_key=own.key,
    )
    keys = Keys()
    wiring = Wiring(
        verifier=TokenVerifier(KeySet(keys), SystemClock()), tenants=Tenants(), metrics=RpcMetrics(CollectorRegistry())
    )
    full = Server(config, [(add_HoldServiceServicer_to_server, Echo())], wiring, Health(healthy))
    await full.start()

    bare = grpc.aio.server()
    add_HoldServiceServicer_to_server(Echo(), bare)  # type: ignore[arg-type]  # it answers every method
    credentials = grpc.ssl_server_credentials(
        [(own.key.read_bytes(), own.certificate.read_bytes())], config.tls_ca.read_bytes(), require_client_auth=True
    )
    bare_port = bare.add_secure_port("127.0.0.1:0", credentials)
    await bare.start()

    client = grpc.ssl_channel_credentials(
        config.tls_ca.read_bytes(), gateway.key.read_bytes(), gateway.certificate.read_bytes()
    )
    options = (("grpc.ssl_target_name_override", "inventory"),)
    token = keys.token("holds.place")
    call = context.Call("/x/Y", "req-12345678", principal=Principal("user", TENANT, USER), token=token)
    call.traceparent = f"00-{'a' * 32}-{'b' * 16}-00"
    metadata = (
        ("x-request-id", "req-12345678"),
        ("traceparent", call.traceparent),
        ("authorization", f"Bearer {token}"),
        ("berth-tenant", "demo"),
    )
    gateway_config = replace(
        config,
        tls_cert=gateway.certificate,
        tls_key=gateway.key,
        peers=Peers({"inventory": (Address("127.0.0.1", full.port),)}),
    )
    channels = Channels(gateway_config)
    context.enter(call)
    async with (
        grpc.aio.secure_channel(f"127.0.0.1:{bare_port}", client, options=options) as to_bare,
        grpc.aio.secure_channel(f"127.0.0.1:{full.port}", client, options=options) as to_full,
    ):
        plain, served, ours = (
            HoldServiceStub(to_bare),
            HoldServiceStub(to_full),
            channels.stub(HoldServiceStub, "inventory"),
        )
        results = await cpu_of(
            {
                "bare": lambda: plain.GetHold(REQUEST, timeout=2),
                "bare with metadata": lambda: plain.GetHold(REQUEST, timeout=2, metadata=metadata),
                "our server": lambda: served.GetHold(REQUEST, timeout=2, metadata=metadata),
                "our server and client": lambda: ours.GetHold(REQUEST),
            }
        )
    await channels.close()
    await full.stop(0)
    await bare.stop(0)
    return results


def main() -> None:
    """Print the table."""
    logs.set_up("cost", "INFO")
    with Path(os.devnull).open("w") as nowhere, tempfile.TemporaryDirectory() as directory:
        logging.getLogger().handlers[0].setStream(nowhere)  # type: ignore[attr-defined]  # a StreamHandler; lines are written, not shown
        results = uvloop.run(measure(Path(directory)))
    for name, milliseconds in results.items():
        print(f"{name:24} {milliseconds:.3f} CPU-ms a call, {milliseconds / results['bare']:.2f} × bare")  # noqa: T201 - a table for people


if __name__ == "__main__":
    main()
