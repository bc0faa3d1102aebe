"""Each behaviour is tested in both worlds."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.ports.inventory.worlds import FakeWorld, RealWorld, World


@pytest.fixture(params=["memory", "postgresql"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A world, empty."""
    if request.param == "memory":
        yield FakeWorld()
        return
    real = RealWorld(request.getfixturevalue("new_database")("inventory"))
    await real.open()
    yield real
    assert real.broken() == []
    await real.close()
