"""What the journeys share: the people of two marketplaces, and a memory of every secret that was used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journey.world.calls import Calls
from tests.journey.world.used import Used
from tests.journey.world.world import World, build
from tests.mesh import Mesh


@pytest.fixture(scope="session")
def used() -> Used:
    """Every secret and personal datum that the session's tests have used."""
    return Used()


@pytest.fixture(scope="session")
def calls(mesh: Mesh, used: Used) -> Iterator[Calls]:
    """Everybody's line to the mesh."""
    line = Calls(mesh, used)
    yield line
    line.close()


@pytest.fixture(scope="session")
def world(calls: Calls) -> World:
    """Who there is, and what there is."""
    return build(calls)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at everything that the others left behind comes last."""
    items.sort(key=lambda item: "aftermath" in item.nodeid)
