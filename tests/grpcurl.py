"""grpcurl for tests, built as `make tools` builds it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infra.local.topology import ROOT

BUILD_SECONDS = 300
DESCRIPTORS = ROOT / "generated" / "envoy" / "berth.binpb"


@pytest.fixture(scope="session")
def grpcurl() -> str:
    """The program."""
    subprocess.run([sys.executable, "-m", "scripts.tools"], check=True, timeout=BUILD_SECONDS, cwd=ROOT)
    return str(ROOT / ".cache" / "bin" / "grpcurl")
