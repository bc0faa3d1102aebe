"""Notification as a process of its own: it starts, is healthy, ends on SIGTERM, and refuses a wrong configuration."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from infra.local import pki
from tests.databases import NewDatabase, free_port

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 30.0


@pytest.fixture
def environment(new_database: NewDatabase, certificates: Path) -> dict[str, str]:
    urls = new_database("notification")
    mine = pki.pair(certificates, "notification")
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": f"127.0.0.1:{free_port()}",
        "BERTH_DATABASE_URL": urls.app,
        "BERTH_WORKER_DATABASE_URL": urls.worker,
        "BERTH_OWNER_DATABASE_URL": urls.owner,
        "BERTH_TLS_CA": str(pki.pair(certificates, "ca").certificate),
        "BERTH_TLS_CERT": str(mine.certificate),
        "BERTH_TLS_KEY": str(mine.key),
        "BERTH_PEERS": f"auth=127.0.0.1:{free_port()};booking=127.0.0.1:{free_port()}",
        "BERTH_SMTP_HOST": "127.0.0.1",
        "BERTH_SMTP_PORT": str(free_port()),
        "BERTH_MAIL_FROM": "bookings@berth.example",
    }


async def test_it_starts_healthy_and_ends_when_asked(environment: dict[str, str], certificates: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.notification", "serve", env=environment, cwd=ROOT
    )
    try:
        mine = pki.pair(certificates, "operator")
        credentials = grpc.ssl_channel_credentials(
            pki.pair(certificates, "ca").certificate.read_bytes(), mine.key.read_bytes(), mine.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", "notification"),)
        async with grpc.aio.secure_channel(environment["BERTH_LISTEN"], credentials, options=options) as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
            answer = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), START_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_migrate_brings_the_schema_and_does_nothing_the_second_time(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "services.notification", "migrate"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BERTH_MAIL_FROM", "Berth <a@b.example>", "BERTH_MAIL_FROM must be a plain address"),
        ("BERTH_SMTP_PORT", "0", "BERTH_SMTP_PORT must be a port"),
        ("BERTH_SMTP_HOST", "", "BERTH_SMTP_HOST is not set"),
        ("BERTH_MAILS_PER_SECOND", "0", "BERTH_MAILS_PER_SECOND must lie between"),
    ],
)
def test_a_wrong_configuration_ends_it_with_a_sentence(
    environment: dict[str, str], name: str, value: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.notification", "serve"],
        env=environment | {name: value},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
