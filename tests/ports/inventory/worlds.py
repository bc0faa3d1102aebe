"""The two worlds that every behaviour must be the same in: memory, and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg

from services.chassis.clock import Clock, FixedClock, SystemClock
from services.chassis.db import Database
from services.inventory.ports import Ports
from services.inventory.store.catalog import SqlCatalog
from services.inventory.store.grants import SqlGrants
from services.inventory.store.holds import SqlHolds
from tests.databases import Urls
from tests.unit.inventory.builders import an_id
from tests.unit.inventory.fakes import FakeDirectory, fake_ports


class World(Protocol):
    """Ports, and a way to let time pass for the holds behind them."""

    ports: Ports
    directory: FakeDirectory
    tenant_id: str

    def age(self, by: timedelta) -> None:
        """Make every hold older: their times move back, the clock does not."""
        ...

    def hasten_grants(self) -> None:
        """Make every ownership that auth was not told of due now."""
        ...

    def broken(self) -> list[object]:
        """What the counters and the holds disagree about."""
        ...


class FakeWorld:
    """Memory."""

    def __init__(self, now: datetime | None = None) -> None:
        self.ports, self.store, self.directory = fake_ports(FixedClock(now or datetime.now(UTC)))
        self.tenant_id = an_id("ten")

    def age(self, by: timedelta) -> None:
        """Move every hold's times back."""
        for kept in self.store.memory(self.tenant_id).holds.values():
            kept.hold = replace(
                kept.hold, create_time=kept.hold.create_time - by, expire_time=kept.hold.expire_time - by
            )

    def hasten_grants(self) -> None:
        """They always are."""

    def broken(self) -> list[object]:
        """Nothing is counted twice here."""
        return []


class RealWorld:
    """PostgreSQL: each world is a tenant of its own."""

    def __init__(self, urls: Urls, clock: Clock | None = None) -> None:
        self.database = Database(urls.app)
        self.worker_database = Database(urls.worker)
        self.directory = FakeDirectory()
        used = clock or SystemClock()
        self.ports = Ports(
            clock=used,
            catalog=SqlCatalog(self.database, used),
            holds=SqlHolds(self.database, self.worker_database, used),
            grants=SqlGrants(self.worker_database),
            directory=self.directory,
        )
        self.tenant_id = an_id("ten")
        self.urls = urls

    async def open(self) -> None:
        """Connect."""
        await self.database.open()
        await self.worker_database.open()

    async def close(self) -> None:
        """Disconnect."""
        await self.database.close()
        await self.worker_database.close()

    def age(self, by: timedelta) -> None:
        """Move every hold's times back, together with its claims'."""
        with psycopg.connect(self.urls.superuser) as connection:
            names = {"by": by, "tenant": self.tenant_id}
            connection.execute(
                "UPDATE holds SET create_time = create_time - %(by)s, placed_until = placed_until - %(by)s,"
                " expire_time = expire_time - %(by)s WHERE tenant_id = %(tenant)s",
                names,
            )
            connection.execute(
                "UPDATE claims SET expire_time = expire_time - %(by)s WHERE tenant_id = %(tenant)s", names
            )

    def hasten_grants(self) -> None:
        """Move their times back."""
        with psycopg.connect(self.urls.superuser) as connection:
            connection.execute("UPDATE vendors SET grant_due = grant_due - interval '1 hour'")

    def broken(self) -> list[object]:
        """Cells whose counters differ from their claims, and claims that nobody should have."""
        with psycopg.connect(self.urls.auditor) as connection:
            return [
                *connection.execute("SELECT * FROM miscounted_cells").fetchall(),
                *connection.execute("SELECT * FROM stray_claims").fetchall(),
            ]
