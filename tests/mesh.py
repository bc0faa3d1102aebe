"""The whole mesh for tests: every part on free ports in a folder of its own, beside whatever else is up."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.local import client, control, pki, topology
from infra.local.instance import Instance
from infra.local.part import State
from infra.local.stack import Stack, attach

POLL_SECONDS = 0.05


class MeshError(AssertionError):
    """The mesh did not do in time what a test waited for."""


@dataclass(frozen=True)
class PartHandle:
    """One part of a running mesh, to be killed, stopped and started at will."""

    mesh: Mesh
    name: str

    @property
    def status(self) -> dict[str, Any]:
        """What the supervisor says about it now."""
        shown: dict[str, Any] = self.mesh.status()["parts"][self.name]
        return shown

    @property
    def pid(self) -> int:
        """The pid of its process; MeshError when it has none now."""
        pid = self.status["pid"]
        if pid is None:
            raise MeshError(f"{self.name} has no process: {self.status['reason']}")
        return int(pid)

    @property
    def log(self) -> Path:
        """Everything it has said."""
        return self.mesh.instance.log(self.name)

    def signal(self, number: signal.Signals) -> int:
        """Sends its process a signal and answers the pid; the supervisor starts it again if it dies of it."""
        pid = self.pid
        os.kill(pid, number)
        return pid

    def kill(self) -> int:
        """kill -9; answers the pid that was."""
        return self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it politely and keeps it down."""
        self.mesh.order("stop", part=self.name)

    def start(self, env: Mapping[str, str] | None = None, *, lasting: bool = False) -> None:
        """Wants it up again; does not wait. See `restart` for the environment."""
        self.mesh.order("start", part=self.name, env=dict(env or {}), lasting=lasting)

    def restart(self, env: Mapping[str, str] | None = None, *, lasting: bool = False, seconds: float = 60.0) -> None:
        """Ends it politely, starts it and waits until it serves.

        The extra environment counts for this one process: after a crash (BERTH_CRASH_AT) the next one lives without.
        With `lasting` it stays until the next lasting order.
        """
        before = self.status["pid"]
        self.mesh.order("restart", part=self.name, env=dict(env or {}), lasting=lasting)
        self.wait_for_another(before, seconds)

    def wait_for_another(self, pid: int | None, seconds: float = 60.0) -> None:
        """Waits until another process than that one serves."""

        def served() -> bool:
            shown = self.status
            return bool(shown["state"] == State.SERVING and shown["pid"] != pid)

        self.mesh.wait(served, f"{self.name} to serve again", seconds)

    def wait_until_serving(self, seconds: float = 60.0) -> None:
        """Waits until it serves, whichever process it is."""
        self.mesh.wait(lambda: self.status["state"] == State.SERVING, f"{self.name} to serve", seconds)


@dataclass(frozen=True)
class Mesh:
    """A running mesh: its addresses, its credentials and its parts."""

    instance: Instance
    stack: Stack

    @property
    def gateway_url(self) -> str:
        """REST, gRPC and gRPC-Web."""
        return self.stack.gateway_url

    @property
    def admin_url(self) -> str:
        """Envoy's own page: /stats, /config_dump."""
        return self.stack.admin_url

    @property
    def mail_url(self) -> str:
        """The mail catcher: GET and DELETE /messages, POST /outage."""
        return f"http://127.0.0.1:{self.stack.ports['mail']}"

    @property
    def stripe_url(self) -> str:
        """The provider double."""
        return self.stack.stripe_url

    @property
    def kafka(self) -> str:
        """The broker's bootstrap address."""
        return self.stack.kafka

    @property
    def redis_url(self) -> str:
        """The cache."""
        return self.stack.redis_url

    @property
    def tls(self) -> Path:
        """The folder of ca.crt and every name's .crt and .key."""
        return self.instance.tls

    @property
    def secrets(self) -> Mapping[str, str]:
        """Generated secrets by name: roles' passwords, BERTH_STRIPE_API_KEY, …"""
        return self.stack.secrets

    def endpoint(self, service: str) -> str:
        """host:port of a service's first process."""
        return self.stack.endpoints(self.stack.topology.services[service])[0]

    def metrics_url(self, service: str) -> str:
        """The Prometheus page of a service's first process."""
        return f"http://127.0.0.1:{self.stack.ports[f'{service}.metrics']}/metrics"

    def database_url(self, database: str, role: str = "auditor") -> str:
        """A database as one of its roles, the auditor's by default."""
        return self.stack.database_url(role, database)

    def superuser_url(self, database: str = "postgres") -> str:
        """A database as the superuser."""
        return self.stack.server.superuser(database)

    def service_environment(self, service: str) -> dict[str, str]:
        """The environment that the service's first process was started with."""
        return self.stack.service_environment(self.stack.topology.services[service])

    def channel_arguments(
        self, service: str, name: str = pki.OPERATOR
    ) -> tuple[str, grpc.ChannelCredentials, list[tuple[str, str]]]:
        """Address, credentials and options of a channel to a service, with the certificate of `name`."""
        own, ca = pki.pair(self.tls, name), pki.pair(self.tls, pki.CA)
        credentials = grpc.ssl_channel_credentials(
            ca.certificate.read_bytes(), own.key.read_bytes(), own.certificate.read_bytes()
        )
        return self.endpoint(service), credentials, [("grpc.ssl_target_name_override", service)]

    def part(self, name: str) -> PartHandle:
        """A part by its name in `make status`."""
        return PartHandle(self, name)

    def status(self) -> dict[str, Any]:
        """The supervisor's own account."""
        return control.ask(self.instance.control, order="status")

    def order(self, order: str, **details: Any) -> dict[str, Any]:
        """One order to the supervisor."""
        return control.ask(self.instance.control, order=order, **details)

    def wait_until_serving(self, seconds: float = 60.0) -> None:
        """Waits until every part serves."""
        self.wait(lambda: bool(self.status()["serving"]), "every part to serve", seconds)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        """Waits for a condition, with the mesh's state in the error."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                parts = self.status()["parts"].items()
                states = "; ".join(f"{name} {part['state']} {part['reason']}" for name, part in parts)
                raise MeshError(f"waited {seconds:g} s in vain for {what}: {states}")
            time.sleep(POLL_SECONDS)


@contextmanager
def start_mesh(directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[Mesh]:
    """A mesh for the length of a block; its data goes at the end, its logs stay for the reader of a failure."""
    # Nothing that a developer set for `make up` may reach the tests' own mesh.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("BERTH_") or name == "BERTH_CACHE"
    }
    chosen = {**inherited, "BERTH_LOCAL_FREE_PORTS": "1", "BERTH_LOCAL_DURABLE": "0", **(environment or {})}
    instance = Instance(directory)
    supervisor = client.start(instance, fresh=True, environment=chosen, tied=True)
    told: list[str] = []
    try:
        try:
            status = client.wait_until_serving(instance, supervisor, told.append)
        except client.StartError as error:
            raise MeshError(f"{error}\n" + "\n".join(told)) from None
        yield Mesh(instance, attach(instance, topology.read(), chosen, status["ports"]))
    finally:
        with suppress(client.StartError):
            client.stop(instance)
        supervisor.kill()  # only where it did not end by itself
        supervisor.wait()
        shutil.rmtree(directory / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """The session's mesh: journey and fault tests share it, and leave it serving."""
    stamp = dt.datetime.now(dt.UTC).strftime("%H%M%S")
    with start_mesh(tmp_path_factory.mktemp(f"mesh-{stamp}-")) as running:
        yield running
