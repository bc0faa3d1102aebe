"""The good requests that the wrong ones are made from."""

from __future__ import annotations

import pytest

from tests.journey.bad_input.good import Good, requests
from tests.journey.world.world import World


@pytest.fixture(scope="package")
def good(world: World) -> dict[str, Good]:
    """One good request for each method."""
    return requests(world)
