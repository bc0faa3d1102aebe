"""One stack's folder, .local/<name>: its data, logs, certificates, and the secrets generated for it alone."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local import postgres
from infra.local.topology import ROOT, Topology

MASTER_KEY = "BERTH_MASTER_KEY"
STRIPE_API_KEY = "BERTH_STRIPE_API_KEY"
STRIPE_WEBHOOK_SECRET = "BERTH_STRIPE_WEBHOOK_SECRET"  # noqa: S105 - the variable's name, not its value
REDIS_PASSWORD = "redis"  # noqa: S105 - the secret's name, not its value


class AlreadyRunningError(RuntimeError):
    """Another supervisor holds this folder."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Where everything of one stack lies."""

    directory: Path

    @property
    def tls(self) -> Path:
        """The development CA and every certificate."""
        return self.directory / "tls"

    @property
    def logs(self) -> Path:
        """One file a part."""
        return self.directory / "logs"

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.directory / "control.sock"

    def data(self, part: str) -> Path:
        """A part's own folder."""
        return self.directory / "data" / part

    def log(self, part: str) -> Path:
        """A part's log file."""
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Makes the folders; nobody else on the machine may look inside."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        for folder in (self.tls, self.logs, self.directory / "data"):
            folder.mkdir(exist_ok=True, mode=0o700)

    def empty(self) -> None:
        """Forgets data, secrets and certificates: the next start is the first."""
        for folder in (self.directory / "data", self.tls):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.directory / "secrets.json", *self.logs.glob("*.log")):
            if file != self.log("supervisor"):  # somebody writes it already: us
                file.unlink(missing_ok=True)

    def hold(self) -> int:
        """Takes the folder for this process's life; the kernel lets go of it, however we end."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunningError(f"{self.directory} is held by a running supervisor") from None
        return descriptor

    def is_held(self) -> bool:
        """Whether a supervisor lives."""
        if not self.directory.exists():
            return False
        try:
            os.close(self.hold())
        except AlreadyRunningError:
            return True
        return False

    def secrets(self, topology: Topology, environment: Mapping[str, str]) -> dict[str, str]:
        """The stack's secrets: kept from the last start, made where new; the environment's own value wins."""
        path = self.directory / "secrets.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        known = {name: kept.get(name) or _generated(name) for name in _names(topology)}
        if known != kept:
            staged = path.with_suffix(".new")
            with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(known, file, indent=1)
            staged.rename(path)
        return {name: environment.get(name) or value for name, value in known.items()}


def named(name: str = "default") -> Instance:
    """The instance of this checkout with that name."""
    return Instance(ROOT / ".local" / name)


def _names(topology: Topology) -> list[str]:
    own = [name for service in topology.services.values() for name in service.secrets]
    fixed = [postgres.SUPERUSER, *postgres.roles(topology), REDIS_PASSWORD, STRIPE_API_KEY, STRIPE_WEBHOOK_SECRET]
    return list(dict.fromkeys([*fixed, *own]))


def _generated(name: str) -> str:
    if name == MASTER_KEY:
        return base64.b64encode(secrets.token_bytes(32)).decode()
    prefix = {STRIPE_API_KEY: "sk_test_", STRIPE_WEBHOOK_SECRET: "whsec_"}.get(name, "")
    return prefix + secrets.token_hex(24)
