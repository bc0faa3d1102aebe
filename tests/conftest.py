"""What all suites share: real PostgreSQL and real Kafka, started when the first test asks for them."""

import os
from functools import cache

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from infra.local import launch
from tests.brokers import kafka, new_topic
from tests.databases import new_database, postgres
from tests.grpcurl import grpcurl
from tests.mesh import mesh

__all__ = ["grpcurl", "kafka", "mesh", "new_database", "new_topic", "postgres"]

# `make test` runs in two processes (pytest-xdist): these folders' tests compute, all others mostly wait for servers.
COMPUTING = {"contract", "tidy", "unit"}
# They wait longest, and for servers of their own: the second process has the time.
ASIDE = "tests/integration/chassis/"

# How long an example takes says how busy the machine is.
settings.register_profile("berth", deadline=None)
settings.load_profile("berth")


def computes(nodeid: str) -> bool:
    """Whether a test is of the computing group."""
    return nodeid.split("/")[1] in COMPUTING


class TwoGroups(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Each process has one group to itself, in order, with servers of its own."""

    def _split_scope(self, nodeid: str) -> str:
        return "aside" if computes(nodeid) or nodeid.startswith(ASIDE) else "serving"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What computes comes last: its process gives way from then on."""
    items.sort(key=lambda item: computes(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """What pytest-xdist asks for where there are several processes."""
    return TwoGroups(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What computes takes what the others leave: servers have deadlines."""
    if hasattr(item.config, "workerinput") and computes(item.nodeid):
        _give_way()


@cache
def _give_way() -> None:
    os.setsid()
    launch.give_way()
