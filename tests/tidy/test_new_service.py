"""`make new-service`: what it makes follows every rule, starts, is healthy, and passes its own tests."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from infra.local import pki
from infra.local import postgres as local
from scripts.check import CHECKS, ROOT, run
from scripts.new_service import Refused, make
from tests.databases import CHASSIS, PASSWORD, Server, free_port
from tests.tidy.conftest import FILES, FOLDERS, LEFT_OUT

# The others need minutes or the network, and nothing of theirs depends on a new service.
RULES = ("types", "generated", "imports", "lint", "format", "protos", "breaking", "tidy", "contract")
NAME = "parcel"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one service more."""
    root = tmp_path_factory.mktemp("made")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=LEFT_OUT)
    for file in FILES:
        shutil.copy(ROOT / file, root / file)
    shutil.copytree(ROOT / ".cache" / "protos", root / ".cache" / "protos")
    _python(root, "-m", "scripts.new_service", NAME)
    return root


def _environment(root: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}:{root / 'generated' / 'python'}"}


def _python(root: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env=environment or _environment(root),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RULES)
def test_it_follows_the_rules(made: Path, name: str) -> None:
    [check] = [check for check in CHECKS if check.name == name]
    outcome = run(check, made)
    assert outcome.passed, outcome.output


@pytest.mark.timeout(300)
def test_its_tests_pass(made: Path) -> None:
    folders = [f"tests/{kind}/{NAME}" for kind in ("unit", "ports", "integration")]
    _python(made, "-m", "pytest", "-q", "-p", "no:cacheprovider", *folders)


async def test_it_starts_and_is_healthy(made: Path, postgres: Server, tmp_path: Path) -> None:
    chassis = postgres.topology.services[CHASSIS]
    mesh = replace(postgres.topology, services={NAME: replace(chassis, name=NAME, database=NAME)})
    local.provision(postgres.cluster.server, mesh, dict.fromkeys(local.roles(mesh), PASSWORD))
    pki.ensure(tmp_path, (NAME, "operator"), datetime.now(UTC))
    own, operator = pki.pair(tmp_path, NAME), pki.pair(tmp_path, "operator")
    ca = pki.pair(tmp_path, pki.CA).certificate
    address = f"127.0.0.1:{free_port()}"
    environment = _environment(made) | {
        "BERTH_OWNER_DATABASE_URL": postgres.url(f"{NAME}_owner", NAME),
        "BERTH_DATABASE_URL": postgres.url(f"{NAME}_app", NAME),
        "BERTH_WORKER_DATABASE_URL": postgres.url(f"{NAME}_worker", NAME),
        "BERTH_LISTEN": address,
        "BERTH_PEERS": "auth=127.0.0.1:1",
        "BERTH_TLS_CA": str(ca),
        "BERTH_TLS_CERT": str(own.certificate),
        "BERTH_TLS_KEY": str(own.key),
        "BERTH_DRAIN_SECONDS": "0.1",
    }
    await asyncio.to_thread(_python, made, "-m", f"services.{NAME}", "migrate", environment=environment)
    serving = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"services.{NAME}", "serve", cwd=made, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        credentials = grpc.ssl_channel_credentials(
            ca.read_bytes(), operator.key.read_bytes(), operator.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", NAME), ("grpc.initial_reconnect_backoff_ms", 100))
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=f"berth.{NAME}.v1.ParcelService"), wait_for_ready=True, timeout=20
            )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    finally:
        serving.terminate()
        assert await serving.wait() == 0


@pytest.mark.parametrize("name", ["", "Two Words", "x", "booking", "chassis", "class", "string", "user", "../escape"])
def test_what_cannot_be_a_service_is_refused_and_leaves_nothing(made: Path, name: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    with pytest.raises(Refused):
        make(made, name)
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == before
