"""Auth as a process of its own: real PostgreSQL, certificates, a free port, and its log in a file."""

from __future__ import annotations

import base64
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from infra.local import pki
from tests.databases import NewDatabase, Urls

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("auth", "inventory", "booking", "notification", "gateway", "operator")
START_SECONDS = 30.0

PLATFORM = """
[tenant]
id = "ten_01kdwcj2m0f5k8xwatxbn3cw00"
slug = "demo"
name = "Berth demo marketplace"

[[users]]
id = "usr_01kdwcj2m9f1xvax08t1tcm835"
email = "platform@demo.berth.example"
password = "harbour-pilot-42"
first_name = "Pia"
last_name = "Platform"
locale = "en"
roles = ["platform_admin"]
"""

Dial = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]


@dataclass(frozen=True)
class Running:
    """A running auth."""

    port: int
    urls: Urls
    log: Path
    environment: dict[str, str]


def auth(environment: dict[str, str], *arguments: str) -> list[str]:
    """The command line of auth."""
    return [sys.executable, "-W", "error::DeprecationWarning:services", "-m", "services.auth", *arguments]


@pytest.fixture(scope="package")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("auth-tls")
    pki.ensure(directory, NAMES, dt.datetime.now(dt.UTC))
    return directory


@pytest.fixture(scope="package")
def running(
    new_database: NewDatabase, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("auth")
    urls, port = new_database("auth"), _free_port()
    mine = pki.pair(certificates, "auth")
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
        "BERTH_ENVIRONMENT": "local",
        "BERTH_LISTEN": f"127.0.0.1:{port}",
        "BERTH_DATABASE_URL": urls.app,
        "BERTH_WORKER_DATABASE_URL": urls.worker,
        "BERTH_OWNER_DATABASE_URL": urls.owner,
        "BERTH_TLS_CA": str(pki.pair(certificates, "ca").certificate),
        "BERTH_TLS_CERT": str(mine.certificate),
        "BERTH_TLS_KEY": str(mine.key),
        "BERTH_MASTER_KEY": base64.b64encode(os.urandom(32)).decode(),
        "BERTH_ARGON2_MEMORY_KIB": "1024",
        "BERTH_ARGON2_TIME_COST": "1",
        "BERTH_LOG_LEVEL": "DEBUG",
    }
    platform = directory / "platform.toml"
    platform.write_text(PLATFORM)
    for command in (
        ["migrate"],
        *(["seed", "--file", str(file)] for file in (ROOT / "infra/local/demo.toml", platform, platform)),
    ):
        subprocess.run(auth(environment, *command), env=environment, cwd=directory, check=True, timeout=60)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            auth(environment, "serve"), env=environment, cwd=directory, stdout=output, stderr=output
        )
        try:
            _wait(process, port, log)
            yield Running(port, urls, log, environment)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(20) == 0, log.read_text()
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture
def dial(running: Running, certificates: Path) -> Dial:
    """A plain channel to auth with one of the mesh's certificates."""

    @asynccontextmanager
    async def dialled(peer: str) -> AsyncIterator[grpc.aio.Channel]:
        mine = pki.pair(certificates, peer)
        credentials = grpc.ssl_channel_credentials(
            pki.pair(certificates, "ca").certificate.read_bytes(), mine.key.read_bytes(), mine.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", "auth"), ("grpc.enable_retries", 0))
        async with grpc.aio.secure_channel(f"127.0.0.1:{running.port}", credentials, options=options) as channel:
            yield channel

    return dialled


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends_at = time.monotonic() + START_SECONDS
    while time.monotonic() < ends_at:
        if process.poll() is not None:
            raise RuntimeError(f"auth ended: {log.read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"auth did not start: {log.read_text()}")
