"""Vendors, resources and quotes in PostgreSQL; each change stores its event and its answer in the same transaction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.clock import Clock
from services.chassis.db import Database
from services.chassis.idempotency import store as idempotency
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.outbox.table import OutboxEvent, append
from services.chassis.rpc import context
from services.inventory.domain.catalog import Resource, Vendor, VendorStatus
from services.inventory.domain.holds import Quote
from services.inventory.domain.items import Cells
from services.inventory.ports import Occupancy, VendorFilter, Work
from services.inventory.store.rows import (
    items_json,
    quote_of,
    resource_of,
    resource_row,
    vendor_of,
    vendor_row,
)
from services.inventory.store.tables import CELLS, QUOTES, RESOURCES, VENDORS
from services.inventory.wire.facts import (
    Fact,
    resource_answer,
    resource_answered,
    resource_changed,
    vendor_answer,
    vendor_answered,
    vendor_changed,
)

TOPIC = "berth.inventory.v1"
MAX_REMEMBERED = 10_000  # resources, and as many quotes
GRANT_LEASE = timedelta(seconds=10)  # how long an attempt to tell auth is left alone

READ_RESOURCES = "SELECT * FROM read_resources(%s, %s)"
READ_VENDOR = "SELECT * FROM read_vendor(%s, %s)"
READ_QUOTE = "SELECT * FROM read_quote(%s, %s)"
READ_OCCUPANCY = "SELECT * FROM read_occupancy(%s, %s, %s::integer, %s::integer)"

T = TypeVar("T")
Name = tuple[str, str]  # a tenant's and an object's id


class SqlCatalog:
    """The port `Catalog` on PostgreSQL. What it remembers is checked by version wherever it decides something."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._resources: OrderedDict[Name, Resource] = OrderedDict()
        self._quotes: OrderedDict[Name, Quote] = OrderedDict()

    def begin(self, tenant_id: str) -> AbstractAsyncContextManager[Work]:
        """Begin a transaction."""
        return self._begin(tenant_id)

    async def vendor(self, tenant_id: str, vendor_id: str) -> Vendor | None:
        """One vendor."""
        row = await self._database.fetch_one(READ_VENDOR, (tenant_id, vendor_id))
        return vendor_of(row) if row is not None else None

    async def vendors(self, tenant_id: str, which: VendorFilter, before: str, limit: int) -> Sequence[Vendor]:
        """Vendors, newest first."""
        visible = or_(
            VENDORS.c.status == VendorStatus.APPROVED,
            VENDORS.c.vendor_id.in_(which.vendor_ids),
            (VENDORS.c.owner_user_id == which.user_id) & bool(which.user_id),
        )
        query = (
            select(VENDORS)
            .where(VENDORS.c.tenant_id == tenant_id)
            .where(true() if which.everything else visible)
            .order_by(VENDORS.c.vendor_id.desc())
            .limit(limit)
        )
        if which.status is not None:
            query = query.where(VENDORS.c.status == which.status)
        if before:
            query = query.where(VENDORS.c.vendor_id < before)
        return [vendor_of(row) for row in await self._select(tenant_id, query)]

    async def resources_of(
        self, tenant_id: str, vendor_id: str, before: str, limit: int, *, archived: bool
    ) -> Sequence[Resource]:
        """Resources, newest first."""
        query = (
            select(RESOURCES)
            .where(RESOURCES.c.tenant_id == tenant_id)
            .order_by(RESOURCES.c.resource_id.desc())
            .limit(limit)
        )
        if vendor_id:
            query = query.where(RESOURCES.c.vendor_id == vendor_id)
        if not archived:
            query = query.where(RESOURCES.c.status == "ACTIVE")
        if before:
            query = query.where(RESOURCES.c.resource_id < before)
        return [resource_of(row) for row in await self._select(tenant_id, query)]

    async def resources(self, tenant_id: str, resource_ids: Sequence[str]) -> dict[str, Resource]:
        """The resources that exist, as they are now."""
        rows = await self._database.fetch_all(READ_RESOURCES, (tenant_id, list(resource_ids)))
        found = {row.resource_id: resource_of(row) for row in rows}
        for resource_id, resource in found.items():
            _remember(self._resources, (tenant_id, resource_id), resource)
        return found

    async def remembered(
        self, tenant_id: str, resource_ids: Sequence[str], *, not_these: frozenset[str] = frozenset()
    ) -> dict[str, Resource]:
        """The resources that exist, as this process last saw them."""
        found: dict[str, Resource] = {}
        for resource_id in resource_ids:
            resource = self._resources.get((tenant_id, resource_id))
            if resource is not None and resource_id not in not_these:
                self._resources.move_to_end((tenant_id, resource_id))
                found[resource_id] = resource
        missing = [resource_id for resource_id in resource_ids if resource_id not in found]
        if missing:
            found |= await self.resources(tenant_id, missing)
        return found

    async def quote(self, tenant_id: str, quote_id: str) -> Quote | None:
        """One quote."""
        known = self._quotes.get((tenant_id, quote_id))
        if known is not None:
            return known
        row = await self._database.fetch_one(READ_QUOTE, (tenant_id, quote_id))
        if row is None:
            return None
        return _remember(self._quotes, (tenant_id, quote_id), quote_of(row))

    async def occupancy(self, tenant_id: str, resource_id: str, cells: Cells) -> Occupancy:
        """What is held or sold in a range of cells."""
        row: Any = await self._database.fetch_one(READ_OCCUPANCY, (tenant_id, resource_id, cells.first, cells.last))
        used = dict(zip(row.o_cells or (), row.o_used or (), strict=True))
        return Occupancy(row.o_now, row.o_version or 0, used)

    @asynccontextmanager
    async def _begin(self, tenant_id: str) -> AsyncIterator[Work]:
        async with self._database.transaction(tenant_id) as connection:
            work = SqlWork(connection, tenant_id, self._clock)
            yield work
        for resource in work.saved_resources:
            _remember(self._resources, (tenant_id, resource.resource_id), resource)
        for quote in work.saved_quotes:
            _remember(self._quotes, (tenant_id, quote.quote_id), quote)

    async def _select(self, tenant_id: str, query: Select[Any]) -> Sequence[Any]:
        async with self._database.transaction(tenant_id) as connection:
            rows: Sequence[Any] = (await connection.execute(query)).all()
        return rows


class SqlWork:
    """The port `Work`: one transaction of one tenant."""

    def __init__(self, connection: AsyncConnection, tenant_id: str, clock: Clock) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._clock = clock
        self._key: IdempotencyKey | None = None
        self.saved_resources: list[Resource] = []
        self.saved_quotes: list[Quote] = []

    async def replayed_vendor(self, key: IdempotencyKey | None, vendor_id: str) -> Vendor | None:
        """Claim the key for a vendor."""
        claim = await self._claim(key, vendor_id)
        if claim is None:
            return None
        if claim.response is None:
            return await self.vendor(claim.resource_id)
        return vendor_answered(claim.response)

    async def replayed_resource(self, key: IdempotencyKey | None, resource_id: str) -> Resource | None:
        """Claim the key for a resource."""
        claim = await self._claim(key, resource_id)
        if claim is None:
            return None
        if claim.response is None:  # the first call changed nothing
            return await self.resource(claim.resource_id)
        return resource_answered(claim.response)

    async def replayed_quote(self, key: IdempotencyKey | None, quote_id: str) -> Quote | None:
        """Claim the key for a quote."""
        claim = await self._claim(key, quote_id)
        if claim is None:
            return None
        query = select(QUOTES).where(QUOTES.c.quote_id == claim.resource_id)
        return quote_of((await self._connection.execute(query)).one())

    async def vendor(self, vendor_id: str) -> Vendor | None:
        """A vendor, locked."""
        query = select(VENDORS).where(VENDORS.c.vendor_id == vendor_id).with_for_update(key_share=True)
        row = (await self._connection.execute(query)).first()
        return vendor_of(row) if row is not None else None

    async def resource(self, resource_id: str) -> Resource | None:
        """A resource, locked."""
        query = select(RESOURCES).where(RESOURCES.c.resource_id == resource_id).with_for_update(key_share=True)
        row = (await self._connection.execute(query)).first()
        return resource_of(row) if row is not None else None

    async def units_in_use(self, resource_id: str) -> int:
        """The most units held or sold at any time from now on; what time has ended is freed first."""
        await self._connection.exec_driver_sql(
            "SELECT end_expired(ARRAY[%s]::text[], clock_timestamp())", (resource_id,)
        )
        query = (
            select(func.coalesce(func.max(CELLS.c.used), 0))
            .select_from(CELLS.join(RESOURCES, RESOURCES.c.resource_id == CELLS.c.resource_id))
            .where(CELLS.c.resource_id == resource_id)
            .where(CELLS.c.cell >= func.current_cell(RESOURCES.c.cell_minutes, func.clock_timestamp()))
        )
        return int((await self._connection.execute(query)).scalar_one())

    async def add_vendor(self, vendor: Vendor) -> None:
        """Store a new vendor."""
        row = vendor_row(vendor)
        due = vendor.create_time + GRANT_LEASE
        await self._connection.execute(insert(VENDORS).values(tenant_id=self._tenant_id, grant_due=due, **row))
        await self._publish_vendor(vendor)

    async def save_vendor(self, vendor: Vendor) -> None:
        """Store a changed vendor."""
        statement = update(VENDORS).where(VENDORS.c.vendor_id == vendor.vendor_id).values(**vendor_row(vendor))
        await self._connection.execute(statement)
        await self._publish_vendor(vendor)

    async def add_resource(self, resource: Resource) -> None:
        """Store a new resource."""
        await self._connection.execute(insert(RESOURCES).values(tenant_id=self._tenant_id, **resource_row(resource)))
        await self._publish_resource(resource)

    async def save_resource(self, resource: Resource) -> None:
        """Store a changed resource; a trigger spreads its capacity over the cells to come."""
        statement = update(RESOURCES).where(RESOURCES.c.resource_id == resource.resource_id)
        await self._connection.execute(statement.values(**resource_row(resource)))
        await self._publish_resource(resource)

    async def now(self) -> datetime:
        """The database's time."""
        now: datetime = (await self._connection.execute(select(func.clock_timestamp()))).scalar_one()
        return now

    async def add_quote(self, quote: Quote) -> None:
        """Store a quote."""
        await self._connection.exec_driver_sql(
            "INSERT INTO quotes (quote_id, tenant_id, user_id, items, create_time, expire_time)"
            " VALUES (%s, %s, %s, %s::jsonb, %s, %s)",
            (
                quote.quote_id,
                self._tenant_id,
                quote.user_id,
                items_json(quote.items),
                quote.create_time,
                quote.expire_time,
            ),
        )
        self.saved_quotes.append(quote)

    async def _claim(self, key: IdempotencyKey | None, object_id: str) -> idempotency.Claim | None:
        """What the key was used for before; None where it is new, or there is none."""
        if key is None:
            return None
        claim = await idempotency.claim(self._connection, key, object_id, self._clock.now())
        if not claim.first:
            return claim
        self._key = key
        return None

    async def _publish_vendor(self, vendor: Vendor) -> None:
        await self._publish(vendor.vendor_id, vendor.version, vendor_changed(vendor), vendor.update_time)
        await self._answer(vendor_answer(vendor))

    async def _publish_resource(self, resource: Resource) -> None:
        await self._publish(resource.resource_id, resource.version, resource_changed(resource), resource.update_time)
        await self._answer(resource_answer(resource))
        self.saved_resources.append(resource)

    async def _publish(self, key: str, version: int, fact: Fact, at: datetime) -> None:
        call = context.current_or_none()
        event = OutboxEvent(
            event_id=new_id("evt", at=at),
            tenant_id=self._tenant_id,
            topic=TOPIC,
            key=key,
            type=fact.type,
            payload=fact.payload,
            version=version,
            time=at,
            traceparent=call.traceparent if call is not None else "",
        )
        await append(self._connection, event)

    async def _answer(self, answer: bytes) -> None:
        if self._key is not None:
            await idempotency.save_response(self._connection, self._key, answer)


def _remember(memory: OrderedDict[Name, T], name: Name, value: T) -> T:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
    return value
