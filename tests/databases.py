"""Real PostgreSQL for tests: one server a session, a fresh database a test, with each service's three roles."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import sql

from infra.local import postgres as local
from infra.local.topology import Service, Topology, read
from services.chassis.db.migrate import upgrade

PASSWORD = "test"
START_SECONDS = 30.0
MEMORY_BYTES_MIN = 6 * 1024**3  # free for PostgreSQL's files, or they go to the disk
CHASSIS = "chassis"  # the chassis's own tests have a database like a service's
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Urls:
    """The ways into one database, one for each role."""

    owner: str
    app: str
    worker: str
    auditor: str
    superuser: str


@dataclass(slots=True)
class Server:
    """A running PostgreSQL that tests may fill, stop and start."""

    cluster: local.Cluster
    topology: Topology
    process: subprocess.Popen[bytes] | None = None
    templates: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.cluster.clear_stale_pid()
        self.process = subprocess.Popen(
            self.cluster.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        ends_at = time.monotonic() + START_SECONDS
        while (reason := local.refusal(self.cluster.server)) is not None:
            if self.process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"PostgreSQL does not serve: {reason}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=START_SECONDS)

    def url(self, role: str, database: str) -> str:
        """The URL by which a role reaches a database."""
        return self.cluster.server.url(role, PASSWORD, database)

    def clone(self, service: str, migrations: str) -> Urls:
        """A fresh copy of the service's migrated and otherwise empty database."""
        owner = self.topology.services[service].owner_role
        if service not in self.templates:
            upgrade(self.url(owner, service), migrations)
            self.templates.add(service)
        name = f"{service}_{next(_numbers)}"
        with psycopg.connect(self.cluster.server.superuser(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                    sql.Identifier(name), sql.Identifier(service), sql.Identifier(owner)
                )
            )
        return Urls(
            owner=self.url(owner, name),
            app=self.url(f"{service}_app", name),
            worker=self.url(f"{service}_worker", name),
            auditor=self.url(local.AUDITOR, name),
            superuser=self.cluster.server.superuser(name),
        )


class NewDatabase(Protocol):
    """Makes a fresh, migrated database of a service."""

    def __call__(self, service: str, migrations: str = "") -> Urls:
        """The ways into it; `migrations` is a package, the service's own unless given."""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The session's PostgreSQL, with the roles and empty databases of the topology."""
    directory = Path(tempfile.mkdtemp(prefix="berth-postgres-", dir=quick_folder()))
    directory.chmod(0o755)  # the server runs as another user where the tests run as root
    topology = with_chassis(read())
    cluster = local.Cluster(directory / "data", free_port(), PASSWORD, durable=False)
    cluster.initialise()
    server = Server(cluster, topology)
    try:
        server.start()
        local.provision(cluster.server, topology, dict.fromkeys(local.roles(topology), PASSWORD))
        with psycopg.connect(cluster.server.superuser(), autocommit=True) as connection:
            # Tests stop the server as a crash would; what it acknowledged must be there afterwards.
            connection.execute("ALTER ROLE ALL SET synchronous_commit = on")
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def new_database(postgres: Server) -> NewDatabase:
    """Make a fresh, migrated database of a service."""

    def make(service: str, migrations: str = "") -> Urls:
        return postgres.clone(service, migrations or f"services.{service}.migrations")

    return make


def with_chassis(topology: Topology) -> Topology:
    """The topology and one more service, whose database the chassis's tests use."""
    chassis = Service(
        name=CHASSIS,
        port=1,
        metrics_port=1,
        workers=1,
        background=False,
        database=CHASSIS,
        topic=None,
        calls=(),
        consumes=(),
        secrets=(),
        env={},
    )
    return replace(topology, services={**topology.services, CHASSIS: chassis})


def quick_folder() -> Path | None:
    """Memory, where there is enough: hundreds of cloned databases are mostly files. None means the usual place."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > MEMORY_BYTES_MIN:
        return memory
    return None


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
