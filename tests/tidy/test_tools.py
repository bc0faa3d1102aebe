"""`make tools`: what it builds works. The journeys use it later, so it is built while they are not yet there."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.check import ROOT

BUILD_SECONDS = 300


@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_grpcurl_reads_our_contracts() -> None:
    subprocess.run([sys.executable, "-m", "scripts.tools"], check=True, timeout=BUILD_SECONDS, cwd=ROOT)
    descriptors = ROOT / "generated" / "envoy" / "berth.binpb"
    line = [str(ROOT / ".cache" / "bin" / "grpcurl"), "-protoset", str(descriptors), "list"]
    listed = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "berth.booking.v1.BookingService" in listed.split()
