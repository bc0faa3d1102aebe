"""Starts Envoy on free ports with a rendered configuration, and waits until it serves."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from gateway.render import render
from infra.local import ports
from infra.local.topology import read

ENVOY = Path(sys.executable).parent / "envoy"
START_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway."""

    port: int
    admin_port: int
    log: Path

    @property
    def url(self) -> str:
        """Where it serves REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def target(self) -> str:
        """Where it serves gRPC."""
        return f"127.0.0.1:{self.port}"

    def healthy(self) -> set[str]:
        """The clusters with a healthy endpoint."""
        clusters = httpx.get(f"http://127.0.0.1:{self.admin_port}/clusters", timeout=5).text.splitlines()
        return {line.split("::")[0] for line in clusters if line.endswith("::health_flags::healthy")}

    def counted(self, name: str) -> int:
        """What Envoy has counted under a statistic's last word, all in all."""
        lines = httpx.get(f"http://127.0.0.1:{self.admin_port}/stats?filter={name}$", timeout=5).text.splitlines()
        return sum(int(line.rpartition(": ")[2]) for line in lines)


@contextlib.contextmanager
def running(
    folder: Path, endpoints: Mapping[str, list[str]], *, awaited: set[str], jwks: str | None = None
) -> Iterator[Gateway]:
    """A gateway over the endpoints; entered once the awaited clusters are healthy, stopped on leaving."""
    port, admin_port = ports.spare(), ports.spare()
    config = folder / f"envoy-{port}.json"
    config.write_text(
        render(read(), endpoints, tls_dir=folder, port=port, admin_port=admin_port, jwks=jwks), encoding="utf-8"
    )
    gateway = Gateway(port, admin_port, folder / f"envoy-{port}.log")
    command = [str(ENVOY), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with gateway.log.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _await(gateway, process, awaited)
        yield gateway
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await(gateway: Gateway, process: subprocess.Popen[bytes], awaited: set[str]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            live = httpx.get(f"http://127.0.0.1:{gateway.admin_port}/ready", timeout=1).status_code == 200
            if live and awaited <= gateway.healthy():
                return
        time.sleep(0.05)
    raise RuntimeError(f"Envoy does not serve: {gateway.log.read_text(encoding='utf-8', errors='replace')[-3000:]}")
