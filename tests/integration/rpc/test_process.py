"""A service as a process: it starts with a whole environment only, serves, and ends without losing a call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from berth.auth.v1 import tenant_service_pb2
from berth.auth.v1.tenant_service_pb2_grpc import KeyServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infra.local import pki
from tests.databases import NewDatabase, free_port

ROOT = Path(__file__).parents[3]
ASK = tenant_service_pb2.GetJwksRequest()


@pytest.fixture
def environment(new_database: NewDatabase, certificates: Path, tmp_path: Path) -> dict[str, str]:
    urls = new_database("chassis", "tests.integration.chassis.migrations")
    own = pki.pair(certificates, "auth")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": f"127.0.0.1:{free_port()}",
        "BERTH_METRICS_LISTEN": f"127.0.0.1:{free_port()}",
        "BERTH_DATABASE_URL": urls.app,
        "BERTH_WORKER_DATABASE_URL": urls.worker,
        "BERTH_TLS_CA": str(pki.pair(certificates, "ca").certificate),
        "BERTH_TLS_CERT": str(own.certificate),
        "BERTH_TLS_KEY": str(own.key),
        "BERTH_JWKS_FILE": str(tmp_path / "jwks.json"),
        "BERTH_DRAIN_SECONDS": "0.3",
    }


@contextmanager
def process(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.integration.rpc.tiny", *arguments]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=ROOT) as started:
        try:
            yield started
        finally:
            started.kill()


def channel_to(environment: dict[str, str], certificates: Path) -> grpc.aio.Channel:
    caller = pki.pair(certificates, "inventory")
    credentials = grpc.ssl_channel_credentials(
        Path(environment["BERTH_TLS_CA"]).read_bytes(), caller.key.read_bytes(), caller.certificate.read_bytes()
    )
    options = (("grpc.ssl_target_name_override", "auth"), ("grpc.initial_reconnect_backoff_ms", 100))
    return grpc.aio.secure_channel(environment["BERTH_LISTEN"], credentials, options=options)


async def serving(channel: grpc.aio.Channel) -> None:
    request = health_pb2.HealthCheckRequest()
    answer = await health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True, timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_it_serves_tells_and_ends_well(environment: dict[str, str], certificates: Path) -> None:
    began = time.monotonic()
    with process(environment, "serve") as started:
        async with channel_to(environment, certificates) as channel:
            await serving(channel)
            print(f"start: {time.monotonic() - began:.2f} s to serving")  # noqa: T201 - a measured figure
            stub = KeyServiceStub(channel)
            answer = await stub.GetJwks(ASK, metadata=(("x-request-id", "req-12345678"),))
            assert answer.keys[0].kid == "req-12345678"
            metrics = await asyncio.to_thread(_read, f"http://{environment['BERTH_METRICS_LISTEN']}/metrics")
            assert 'berth_rpc_served_seconds_count{code="OK",method="/berth.auth.v1.KeyService/GetJwks"} 1.0' in metrics
            assert "berth_rpc_in_flight 0.0" in metrics

            await asyncio.sleep(0.6)  # failed background work has been begun anew
            last = asyncio.ensure_future(stub.GetJwks(ASK))
            await asyncio.sleep(0.1)
            started.send_signal(signal.SIGTERM)
            assert (await last).keys
        _, told = await asyncio.to_thread(started.communicate, timeout=10)
    assert started.returncode == 0
    assert "background work runs\nbackground work ends" in "\n".join(
        line for line in told.splitlines() if line.startswith("background")
    )
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    messages = [line["message"] for line in lines]
    assert messages[-1] == "stopped"
    assert messages.index("started") < messages.index("draining")
    assert all(line["service"] == "tiny" for line in lines)
    calls = [line for line in lines if line["message"] == "call"]
    assert [(line["code"], line["peer"], line["subject"]) for line in calls] == [("OK", "inventory", "inventory")] * 2


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        text: str = answer.read().decode()
    return text


async def test_it_starts_without_its_database_and_says_that_it_does_not_serve(
    environment: dict[str, str], certificates: Path
) -> None:
    environment["BERTH_DATABASE_URL"] = "postgresql://nobody:x@127.0.0.1:1/nothing"
    with process(environment, "serve"):
        async with channel_to(environment, certificates) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=15
            )
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("name", ["BERTH_LISTEN", "BERTH_DATABASE_URL", "BERTH_TLS_KEY"])
def test_without_its_whole_environment_it_ends_with_a_sentence(environment: dict[str, str], name: str) -> None:
    del environment[name]
    with process(environment, "serve") as started:
        _, told = started.communicate(timeout=20)
    assert started.returncode == 1
    assert told == f"{name} is not set.\n"


def test_seeding_uses_the_workers_role(environment: dict[str, str], tmp_path: Path) -> None:
    data, tell = tmp_path / "demo.toml", tmp_path / "told"
    data.write_text(f'tell = "{tell}"\n')
    with process(environment, "seed", "--file", str(data)) as started:
        _, told = started.communicate(timeout=20)
    assert started.returncode == 0, told
    assert tell.read_text() == "chassis_worker"
