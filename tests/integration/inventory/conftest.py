"""A fresh inventory database for each test, and the adapters on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from services.chassis.clock import SystemClock
from services.chassis.db import Database
from services.inventory.store.catalog import SqlCatalog
from services.inventory.store.grants import SqlGrants
from services.inventory.store.holds import SqlHolds
from tests.databases import Urls


@dataclass(frozen=True)
class Stores:
    """The adapters, and the databases below them."""

    urls: Urls
    database: Database
    worker_database: Database
    catalog: SqlCatalog
    holds: SqlHolds
    grants: SqlGrants


@pytest.fixture
async def stores(new_database: Callable[[str], Urls]) -> AsyncIterator[Stores]:
    """All of them."""
    urls = new_database("inventory")
    database, worker_database = Database(urls.app), Database(urls.worker)
    await database.open()
    await worker_database.open()
    clock = SystemClock()
    yield Stores(
        urls,
        database,
        worker_database,
        SqlCatalog(database, clock),
        SqlHolds(database, worker_database, clock),
        SqlGrants(worker_database),
    )
    await database.close()
    await worker_database.close()
