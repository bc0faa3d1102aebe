"""A world on a fresh inventory database for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.databases import Urls
from tests.integration.inventory.process import inventory
from tests.integration.rpc.serving import certificates, channels, config, dial, serve
from tests.ports.inventory.worlds import RealWorld

__all__ = ["certificates", "channels", "config", "dial", "inventory", "serve", "world"]


@pytest.fixture
async def world(new_database: Callable[[str], Urls]) -> AsyncIterator[RealWorld]:
    """A world, empty; whatever a test does to it, counters and claims agree afterwards."""
    real = RealWorld(new_database("inventory"))
    await real.open()
    yield real
    await real.close()
    assert real.broken() == []
