"""What inventory's use cases need from outside: storage, other services, the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.chassis.clock import Clock
from services.chassis.idempotency.key import IdempotencyKey
from services.inventory.domain.catalog import Resource, Vendor, VendorStatus
from services.inventory.domain.holds import Hold, Order, Quote
from services.inventory.domain.items import Cells


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Which cells of a resource have units that are held or sold, at the database's time."""

    now: datetime
    version: int  # the resource's
    used: Mapping[int, int]  # cells that are not in it are empty


@dataclass(frozen=True, slots=True)
class HoldChange:
    """Whose hold a person changes; with a key, the same key again answers what it answered first."""

    hold_id: str
    user_id: str
    key: IdempotencyKey | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """An ownership that auth has still to be told of."""

    tenant_id: str
    vendor_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class VendorFilter:
    """Which vendors a list shows."""

    status: VendorStatus | None
    everything: bool  # whether the reader may see vendors that are not approved
    user_id: str  # whose own vendors are shown in any state
    vendor_ids: frozenset[str]


class Work(Protocol):
    """One transaction on a tenant's catalogue and keys; it commits when its block ends well.

    Whatever is saved publishes its event, and answers the key that was claimed before.
    """

    async def replayed_vendor(self, key: IdempotencyKey | None, vendor_id: str) -> Vendor | None:
        """Claim the key for a vendor; what was answered before, where it was claimed before."""
        ...

    async def replayed_resource(self, key: IdempotencyKey | None, resource_id: str) -> Resource | None:
        """Claim the key for a resource; what was answered before, where it was claimed before."""
        ...

    async def replayed_quote(self, key: IdempotencyKey | None, quote_id: str) -> Quote | None:
        """Claim the key for a quote; the quote that was made before, where it was claimed before."""
        ...

    async def vendor(self, vendor_id: str) -> Vendor | None:
        """A vendor, kept from others' changes until the transaction ends."""
        ...

    async def resource(self, resource_id: str) -> Resource | None:
        """A resource, kept from others' changes and holds until the transaction ends."""
        ...

    async def units_in_use(self, resource_id: str) -> int:
        """The most units of a resource that are held or sold at any time from now on."""
        ...

    async def add_vendor(self, vendor: Vendor) -> None:
        """Store a new vendor, whose owner auth has still to be told of."""
        ...

    async def save_vendor(self, vendor: Vendor) -> None:
        """Store a changed vendor."""
        ...

    async def add_resource(self, resource: Resource) -> None:
        """Store a new resource."""
        ...

    async def save_resource(self, resource: Resource) -> None:
        """Store a changed resource."""
        ...

    async def now(self) -> datetime:
        """The database's time."""
        ...

    async def add_quote(self, quote: Quote) -> None:
        """Store a quote."""
        ...


class Catalog(Protocol):
    """Vendors, resources and quotes."""

    def begin(self, tenant_id: str) -> AbstractAsyncContextManager[Work]:
        """Begin a transaction."""
        ...

    async def vendor(self, tenant_id: str, vendor_id: str) -> Vendor | None:
        """One vendor."""
        ...

    async def vendors(self, tenant_id: str, which: VendorFilter, before: str, limit: int) -> Sequence[Vendor]:
        """Vendors, newest first, those after the id `before` unless it is empty."""
        ...

    async def resources_of(
        self, tenant_id: str, vendor_id: str, before: str, limit: int, *, archived: bool
    ) -> Sequence[Resource]:
        """Resources, newest first, of one vendor unless it is empty, archived ones only where asked."""
        ...

    async def resources(self, tenant_id: str, resource_ids: Sequence[str]) -> dict[str, Resource]:
        """The resources that exist, as they are now."""
        ...

    async def remembered(
        self, tenant_id: str, resource_ids: Sequence[str], *, not_these: frozenset[str] = frozenset()
    ) -> dict[str, Resource]:
        """The resources that exist, as this process last saw them; those in `not_these` are read again."""
        ...

    async def quote(self, tenant_id: str, quote_id: str) -> Quote | None:
        """One quote; quotes never change."""
        ...

    async def occupancy(self, tenant_id: str, resource_id: str, cells: Cells) -> Occupancy:
        """What is held or sold in a range of cells; holds that time has ended do not count."""
        ...


class Holds(Protocol):
    """Holds. Each change is decided in one statement, by the database's time, under its resources' locks.

    Refusals: NotFound where there is none, or it is another person's; HoldEnded with its status.
    """

    async def place(self, tenant_id: str, order: Order) -> Hold:
        """Keep all that is ordered, or answer what the same booking's step, or key, got before.

        Refuses with UnitsTaken, NotBookable, QuoteInvalid, HoldEnded and IdempotencyKeyReused; raises ResourceStale
        where a resource is no longer as the order was made from.
        """
        ...

    async def placed_before(self, tenant_id: str, order: Order) -> Hold | None:
        """What the order's booking step, or key, got before; refuses with IdempotencyKeyReused."""
        ...

    async def take_over(self, tenant_id: str, order: Order) -> Hold:
        """Make the person's hold named by the order the booking's: its units are never free in between."""
        ...

    async def get(self, tenant_id: str, hold_id: str) -> Hold | None:
        """One hold."""
        ...

    async def extend(self, tenant_id: str, change: HoldChange, ttl: timedelta) -> Hold:
        """Keep a person's hold until `ttl` from now; refuses with ExtensionTooLong beyond its longest life."""
        ...

    async def release(self, tenant_id: str, change: HoldChange) -> Hold:
        """Give a person's hold back, unless a booking has it."""
        ...

    async def post(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Sell a booking's hold."""
        ...

    async def void(self, tenant_id: str, hold_id: str, booking_id: str, step: str) -> None:
        """Give a booking's hold up; where there was none, remember by `hold_id` that there may never be one."""
        ...

    async def cancel(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Free the units of a booking's sold hold."""
        ...

    async def sweep(self, limit: int) -> int:
        """Mark holds that time has ended, of all tenants; returns how many."""
        ...


class Grants(Protocol):
    """The ownerships that auth has still to be told of."""

    async def pending(self, limit: int) -> Sequence[Grant]:
        """Some of them, oldest first, of all tenants; each is left alone for a while once it was given out."""
        ...

    async def done(self, grant: Grant) -> None:
        """Auth knows of it."""
        ...


class Directory(Protocol):
    """Auth's register of who works for whom."""

    async def grant_vendor(self, tenant_id: str, user_id: str, vendor_id: str) -> None:
        """Make a person a vendor's owner; saying it twice is fine."""
        ...


class Retention(Protocol):
    """Forgets what nobody needs any more."""

    async def purge(self, now: datetime) -> int:
        """Delete one batch of what is old enough; returns how many rows went."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them."""

    clock: Clock
    catalog: Catalog
    holds: Holds
    grants: Grants
    directory: Directory
