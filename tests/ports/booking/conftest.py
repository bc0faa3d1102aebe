"""Inventory and payment as booking meets them: the fakes, and the real ones as processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from infra.local import pki
from services.booking.clients import RemoteInventory, RemotePayments
from services.booking.domain import Item
from services.booking.ports import Inventory, Mandate, Payments
from services.chassis.config import Address, Peers, ServiceConfig
from services.chassis.ids import new_id
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.context import background
from tests.integration.booking.around import TENANT, VENDOR, Around
from tests.integration.booking.conftest import around
from tests.ports.booking import fakes

__all__ = ["Neighbours", "around", "neighbours", "real_neighbours"]

DAY = datetime.now(UTC).date() + timedelta(days=45)
ARRIVAL, DEPARTURE = DAY.isoformat(), (DAY + timedelta(days=1)).isoformat()


@dataclass(frozen=True)
class Neighbours:
    """Both of them, a resource with one unit, and the tokens that mean something to the provider."""

    inventory: Inventory
    payments: Payments
    item: Item
    vendor_id: str
    pays: str
    declines: str
    unknown: str

    def mandate(self) -> Mandate:
        """A new booking's."""
        now = datetime.now(UTC)
        return Mandate(TENANT, new_id("bkg", at=now, shard=5), new_id("usr", at=now))


class _Acting:
    """An adapter whose calls are made as booking's worker makes them: for a tenant, with a time limit."""

    def __init__(self, adapter: object) -> None:
        self._adapter = adapter

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._adapter, name)

        async def act(*args: Any, **named: Any) -> Any:
            with background("ports suite", tenant_id=TENANT):
                return await method(*args, **named)

        return act


@pytest.fixture(params=["fake", "real"])
def neighbours(request: pytest.FixtureRequest) -> Neighbours:
    """The fakes, then the real ones."""
    if request.param == "real":
        found: Neighbours = request.getfixturevalue("real_neighbours")
        return found
    world = fakes.new_world(capacity=1)
    tokens = (fakes.PAYS, fakes.DECLINES, fakes.UNKNOWN)
    item = Item(fakes.RESOURCE, ARRIVAL, DEPARTURE)
    return Neighbours(world.inventory, world.payments, item, fakes.VENDOR, *tokens)


@pytest.fixture
async def real_neighbours(around: Around) -> AsyncIterator[Neighbours]:
    """Both services, called as booking calls them."""
    mine = pki.pair(around.tls, "booking")
    peers = {name: (Address("127.0.0.1", port),) for name, port in around.ports.items()}
    config = ServiceConfig(
        environment="local",
        listen=Address("127.0.0.1", 1),
        database_url="",
        worker_database_url="",
        tls_ca=pki.pair(around.tls, "ca").certificate,
        tls_cert=mine.certificate,
        tls_key=mine.key,
        peers=Peers(peers),
    )
    channels = Channels(config)
    item = Item(await around.resource(), ARRIVAL, DEPARTURE)
    tokens = ("pm_card_visa", "pm_card_chargeDeclined", "pm_nobody_knows")
    inventory, payments = _Acting(RemoteInventory(channels)), _Acting(RemotePayments(channels))
    yield Neighbours(cast("Inventory", inventory), cast("Payments", payments), item, VENDOR, *tokens)
    await channels.close()
