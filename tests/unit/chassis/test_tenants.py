"""Tenants are remembered for a while, and for longer while their directory is out."""

from __future__ import annotations

import grpc
import pytest

from services.chassis.errors import TenantUnknown
from services.chassis.rpc import tenants as module
from services.chassis.rpc.errors import RemoteError
from services.chassis.rpc.tenants import RememberedTenants


class Directory:
    """Knows one tenant, unless it is out."""

    def __init__(self) -> None:
        self.known = {"demo": "ten_1"}
        self.out = False
        self.asked = 0

    async def find(self, slug: str) -> str:
        self.asked += 1
        if self.out:
            raise RemoteError(grpc.StatusCode.UNAVAILABLE, "DRAINING", "gone")
        if slug not in self.known:
            raise TenantUnknown
        return self.known[slug]


class Monotonic:
    """Stands in for the machine's monotonic clock."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(module, "time", clock)
    return clock


async def test_a_tenant_is_asked_for_once_in_a_while(time: Monotonic) -> None:
    directory = Directory()
    remembered = RememberedTenants(directory)
    for _ in range(3):
        assert await remembered.find("demo") == "ten_1"
    assert directory.asked == 1
    directory.known.clear()  # suspended
    time.now += module.KNOWN_SECONDS
    with pytest.raises(TenantUnknown):
        await remembered.find("demo")


async def test_so_is_one_that_there_is_not(time: Monotonic) -> None:
    directory = Directory()
    remembered = RememberedTenants(directory)
    for _ in range(3):
        with pytest.raises(TenantUnknown):
            await remembered.find("new")
    assert directory.asked == 1
    directory.known["new"] = "ten_2"
    time.now += module.UNKNOWN_SECONDS
    assert await remembered.find("new") == "ten_2"


async def test_while_the_directory_is_out_what_was_known_works_on(time: Monotonic) -> None:
    directory = Directory()
    remembered = RememberedTenants(directory)
    await remembered.find("demo")
    directory.out = True
    time.now += module.STALE_SECONDS
    assert await remembered.find("demo") == "ten_1"
    time.now += module.KNOWN_SECONDS
    with pytest.raises(RemoteError):
        await remembered.find("demo")
    with pytest.raises(RemoteError):
        await remembered.find("other")


async def test_there_is_a_limit(time: Monotonic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    directory = Directory()
    remembered = RememberedTenants(directory)
    for number in range(10):
        with pytest.raises(TenantUnknown):
            await remembered.find(f"guess-{number}")
    assert len(remembered._known) == 3
