"""Owns the monolith's place in a mesh: one database with every schema, the application, and workers that serve both.

The mesh's own processes stay as its workers: pointed at the one database they relay its outbox, take webhooks, go on
with bookings that stand still, sweep holds, and describe bookings to whoever mails. Its gateway leads to them only.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

import httpx
import psycopg

from infra.local import ports, postgres
from infra.local.instance import STRIPE_API_KEY
from infra.local.parts import DEMO
from services.chassis.db.migrate import upgrade
from tests.mesh import Mesh

NAME = "monolith"
# In this order they are looked through: the outbox, the inbox and the keys of the first are those of all.
SCHEMAS = ("booking", "inventory", "payment")
START_SECONDS = 30.0
# One process a core, each at its own port: two at one port would leave all connections to one of them.
WORKERS = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The running monolith."""

    urls: Sequence[str]
    pids: Sequence[int]
    databases: Mapping[str, str]
    """For the auditor: its one database wherever the mesh has one of three."""


@contextmanager
def monolith(mesh: Mesh) -> Iterator[Yardstick]:
    """Serves by the monolith for the length of a block."""
    passwords = {**mesh.secrets, **{f"{NAME}_{role}": secrets.token_hex(16) for role in ("owner", "app", "worker")}}

    def url(role: str) -> str:
        return mesh.stack.server.url(role, passwords[role], NAME)

    _make_database(mesh, passwords, url(f"{NAME}_owner"))
    workers = {
        "BERTH_DATABASE_URL": url(f"{NAME}_app"),
        "BERTH_WORKER_DATABASE_URL": url(f"{NAME}_worker"),
    }
    for service in SCHEMAS:
        mesh.part(service).restart(workers, lasting=True)
    seed = [sys.executable, "-m", "services.inventory", "seed", "--file", str(DEMO)]
    subprocess.run(seed, env={**mesh.service_environment("inventory"), **workers}, check=True, capture_output=True)
    environment = {
        **mesh.stack.python_environment(),
        "BENCH_DATABASE_URL": url(f"{NAME}_app"),
        "BENCH_JWKS_URL": f"{mesh.gateway_url}/.well-known/jwks.json",
        "BERTH_STRIPE_API_KEY": mesh.secrets[STRIPE_API_KEY],
        "BERTH_STRIPE_API_BASE": mesh.stripe_url,
    }
    chosen = [ports.spare() for _ in range(WORKERS)]
    with mesh.instance.log(NAME).open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "scripts.bench.monolith", "--port", str(port)],
                env=environment,
                stdout=log,
                stderr=log,
            )
            for port in chosen
        ]
    audited = {name: mesh.database_url(name) for name in ("auth", "notification")}
    audited |= dict.fromkeys(SCHEMAS, url(postgres.AUDITOR))
    try:
        urls = [f"http://127.0.0.1:{port}" for port in chosen]
        for address, process in zip(urls, processes, strict=True):
            _wait(address, process)
        yield Yardstick(urls, [process.pid for process in processes], audited)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _make_database(mesh: Mesh, passwords: Mapping[str, str], owner_url: str) -> None:
    service = replace(mesh.stack.topology.services["booking"], name=NAME, database=NAME)
    topology = replace(mesh.stack.topology, services={NAME: service})
    postgres.provision(mesh.stack.server, topology, passwords)
    path = ", ".join(SCHEMAS)
    with psycopg.connect(mesh.superuser_url(NAME), autocommit=True) as connection:
        for schema in SCHEMAS:
            connection.execute(f"CREATE SCHEMA {schema} AUTHORIZATION {service.owner_role}".encode())
        readers = f"{service.app_role}, {service.worker_role}, {postgres.AUDITOR}"
        connection.execute(f"GRANT USAGE ON SCHEMA {path} TO {readers}".encode())
        connection.execute(f"ALTER DATABASE {NAME} SET search_path = {path}".encode())
    for schema in SCHEMAS:
        # Each service's migrations as they are, in a schema of their own.
        options = quote(f"-csearch_path={schema}")
        upgrade(f"{owner_url}?options={options}", f"services.{schema}.migrations")


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"{url}/openapi.json", timeout=1.0).raise_for_status()
        except httpx.HTTPError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("The monolith does not serve; its log says why.") from error
            time.sleep(0.1)
        else:
            return
