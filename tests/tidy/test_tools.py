"""`make tools`: what it builds works. The journeys use it later, so it is built while they are not yet there."""

from __future__ import annotations

import subprocess

import pytest

from tests.grpcurl import BUILD_SECONDS, DESCRIPTORS


@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_grpcurl_reads_our_contracts(grpcurl: str) -> None:
    line = [grpcurl, "-protoset", str(DESCRIPTORS), "list"]
    listed = subprocess.run(line, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "berth.booking.v1.BookingService" in listed.split()
