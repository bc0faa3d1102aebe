"""Envoy itself accepts the rendered configuration, also without a default tenant and with kept keys."""

import subprocess
from pathlib import Path

import pytest

from gateway.render import render
from infra.local.topology import read
from tests.integration.gateway.envoy import ENVOY


@pytest.mark.parametrize("default_tenant", ["", "demo"])
@pytest.mark.parametrize("kept", [True, False])
def test_envoy_accepts_the_configuration(folder: Path, jwks: str, default_tenant: str, kept: bool) -> None:
    topology = read()
    endpoints = {
        name: [f"127.0.0.1:{service.port}", f"127.0.0.1:{service.port + 1}"]
        for name, service in topology.services.items()
    }
    config = folder / "validated.json"
    text = render(
        topology,
        endpoints,
        tls_dir=folder,
        port=topology.gateway.port,
        admin_port=topology.gateway.admin_port,
        jwks=jwks if kept else None,
        default_tenant=default_tenant,
    )
    config.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [str(ENVOY), "--mode", "validate", "-c", str(config)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "eprecated" not in done.stderr
