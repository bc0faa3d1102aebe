"""Owns the frame of every fault test: a mesh that serves before it, people, and an audit of 0 after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from infra.local.part import State
from tests.fault import figures
from tests.fault.world import CUSTOMER, OWNER, World, log_in
from tests.mesh import Mesh

TEST_SECONDS = 420  # of one test with its audit; the longest ones let a part lie down for a minute


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every fault test has minutes where a unit test has one."""
    for item in items:
        if "tests/fault/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The fault table, also where output is captured."""
    if figures.TABLE:
        terminalreporter.section("faults")
        for line in figures.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def swift(mesh: Mesh) -> Mesh:
    """The mesh, with mails that go out as fast as they come: a test that waits for hundreds waits for no rate."""
    mesh.part("notification").restart({"BERTH_MAILS_PER_SECOND": "10000"}, lasting=True)
    return mesh


@pytest.fixture
async def world(swift: Mesh) -> AsyncIterator[World]:
    """People at the gateway of a whole mesh; afterwards everything is mended, drained and audited."""
    mesh = swift
    await asyncio.to_thread(_mend, mesh)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        customer = await log_in(mesh.gateway_url, http, *CUSTOMER)
        owner = await log_in(mesh.gateway_url, http, *OWNER)
        here = World(mesh, http, customer, owner)
        await here.reached("inventory", "booking", "payment")
        try:
            yield here
        finally:
            await asyncio.to_thread(_mend, mesh)
            await here.provider("DELETE", "/_double/faults")
            async with http.post(f"{mesh.mail_url}/outage", json={"seconds": 0}) as answer:
                assert answer.status == 200
        violations = await here.audited()
        assert not violations, violations


def _mend(mesh: Mesh) -> None:
    """Whatever a test left down is started, without what it was given for its process."""
    for name, part in mesh.status()["parts"].items():
        if part["state"] == State.STOPPED:
            mesh.part(name).start()
    mesh.wait_until_serving(90)
