"""Owns the skeleton's place in a mesh: its three processes stand where booking, inventory and payment stood."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg

from tests.mesh import Mesh

PLACES = ("inventory", "payment", "booking")
DATABASE = "skeleton"


@contextmanager
def skeleton(mesh: Mesh) -> Iterator[Mapping[str, int]]:
    """Serves by the skeleton, behind the same gateway, for the length of a block; answers the processes' pids."""
    for name in PLACES:
        mesh.part(name).stop()
    mesh.wait(lambda: all(mesh.part(name).status["pid"] is None for name in PLACES), "three services to end", 30.0)
    with psycopg.connect(mesh.superuser_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    processes = {name: _start(mesh, name) for name in PLACES}
    try:
        yield {name: process.pid for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        for name in PLACES:
            mesh.part(name).start()
        for name in PLACES:
            mesh.part(name).wait_until_serving()


def _start(mesh: Mesh, name: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "scripts.bench.skeleton", name, "--listen", mesh.endpoint(name)]
    line += ["--database-url", mesh.superuser_url(DATABASE), "--tls", str(mesh.tls)]
    line += [word for peer in ("inventory", "payment") for word in ("--peer", f"{peer}={mesh.endpoint(peer)}")]
    return subprocess.Popen(line)
