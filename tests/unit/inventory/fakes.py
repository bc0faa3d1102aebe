"""Inventory's ports in memory: as simple as they can be, so that they are plainly right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis.clock import FixedClock
from services.chassis.errors import DependencyUnavailable, IdempotencyKeyReused, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.inventory.domain.catalog import Resource, ResourceStatus, Vendor, VendorStatus
from services.inventory.domain.errors import (
    ExtensionTooLong,
    HoldEnded,
    NotBookable,
    QuoteInvalid,
    ResourceStale,
    UnitsTaken,
)
from services.inventory.domain.holds import HOLD_MOVES, LONGEST_LIFE, Claim, Hold, HoldStatus, Order, Quote
from services.inventory.domain.items import Cells, as_text
from services.inventory.ports import Grant, HoldChange, Occupancy, Ports, VendorFilter
from tests.unit.inventory.memory import FakeWork, Kept, Memory, name_of


class FakeStore:
    """The ports Catalog, Holds and Grants over one memory for each tenant."""

    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.tenants: dict[str, Memory] = {}

    def memory(self, tenant_id: str) -> Memory:
        """A tenant's rows."""
        return self.tenants.setdefault(tenant_id, Memory())

    # Catalog

    @asynccontextmanager
    async def begin(self, tenant_id: str) -> AsyncIterator[FakeWork]:
        """A transaction: what fails leaves nothing behind."""
        before = deepcopy(self.memory(tenant_id))
        try:
            yield FakeWork(self, tenant_id)
        except BaseException:
            self.tenants[tenant_id] = before
            raise

    async def vendor(self, tenant_id: str, vendor_id: str) -> Vendor | None:
        """One vendor."""
        return self.memory(tenant_id).vendors.get(vendor_id)

    async def vendors(self, tenant_id: str, which: VendorFilter, before: str, limit: int) -> Sequence[Vendor]:
        """Vendors, newest first."""
        shown = [
            vendor
            for vendor in self.memory(tenant_id).vendors.values()
            if (which.status is None or vendor.status is which.status)
            and (not before or vendor.vendor_id < before)
            and (
                which.everything
                or vendor.status is VendorStatus.APPROVED
                or vendor.vendor_id in which.vendor_ids
                or (which.user_id and vendor.owner_user_id == which.user_id)
            )
        ]
        return sorted(shown, key=lambda vendor: vendor.vendor_id, reverse=True)[:limit]

    async def resources_of(
        self, tenant_id: str, vendor_id: str, before: str, limit: int, *, archived: bool
    ) -> Sequence[Resource]:
        """Resources, newest first."""
        shown = [
            resource
            for resource in self.memory(tenant_id).resources.values()
            if (not vendor_id or resource.vendor_id == vendor_id)
            and (not before or resource.resource_id < before)
            and (archived or resource.status is ResourceStatus.ACTIVE)
        ]
        return sorted(shown, key=lambda resource: resource.resource_id, reverse=True)[:limit]

    async def resources(self, tenant_id: str, resource_ids: Sequence[str]) -> dict[str, Resource]:
        """The resources that exist."""
        known = self.memory(tenant_id).resources
        return {name: known[name] for name in resource_ids if name in known}

    async def remembered(
        self, tenant_id: str, resource_ids: Sequence[str], *, not_these: frozenset[str] = frozenset()
    ) -> dict[str, Resource]:
        """The resources that exist: nothing here is out of date."""
        return await self.resources(tenant_id, resource_ids)

    async def quote(self, tenant_id: str, quote_id: str) -> Quote | None:
        """One quote."""
        return self.memory(tenant_id).quotes.get(quote_id)

    async def occupancy(self, tenant_id: str, resource_id: str, cells: Cells) -> Occupancy:
        """What is held or sold."""
        resource = self.memory(tenant_id).resources.get(resource_id)
        counted = {cell: self.used(tenant_id, resource_id, cell) for cell in range(cells.first, cells.last + 1)}
        used = {cell: count for cell, count in counted.items() if count}
        return Occupancy(self.clock.now(), resource.version if resource else 0, used)

    # Holds

    def status(self, hold: Hold) -> HoldStatus:
        """Where a hold stands by now."""
        if hold.status is HoldStatus.HELD and hold.expire_time <= self.clock.now():
            return HoldStatus.EXPIRED
        return hold.status

    def used(self, tenant_id: str, resource_id: str, cell: int) -> int:
        """How many units of a cell are held or sold."""
        return sum(
            claim.quantity
            for kept in self.memory(tenant_id).holds.values()
            if self.status(kept.hold) in {HoldStatus.HELD, HoldStatus.POSTED}
            for claim in kept.claims
            if claim.resource_id == resource_id and claim.cells.first <= cell <= claim.cells.last
        )

    async def place(self, tenant_id: str, order: Order) -> Hold:
        """Keep all that is ordered, or nothing."""
        before = await self.placed_before(tenant_id, order)
        if before is not None:
            return before
        now = self.clock.now()
        if order.quote_until is not None and order.quote_until <= now:
            raise QuoteInvalid
        taken: dict[tuple[str, int], int] = {}
        for claim in order.claims:
            self._check(tenant_id, claim, taken, now)
            for cell in range(claim.cells.first, claim.cells.last + 1):
                place = (claim.resource_id, cell)
                taken[place] = taken.get(place, 0) + claim.quantity
        hold = Hold(order.hold_id, order.user_id, HoldStatus.HELD, order.items, now, now + order.ttl, order.booking_id)
        self.memory(tenant_id).holds[hold.hold_id] = Kept(hold, order.claims, hold, order.step)
        if order.key is not None:
            self.memory(tenant_id).keys[name_of(order.key)] = (order.key.request_hash, hold.hold_id, None)
        return hold

    async def placed_before(self, tenant_id: str, order: Order) -> Hold | None:
        """What the same booking's step, or key, got before."""
        memory = self.memory(tenant_id)
        if order.booking_id:
            kept = self._of_booking(tenant_id, order.booking_id, order.step)
            if kept is None:
                return None
            if self.status(kept.hold) not in {HoldStatus.HELD, HoldStatus.POSTED}:
                raise HoldEnded(status=self.status(kept.hold))
            return kept.hold
        if order.key is None or name_of(order.key) not in memory.keys:
            return None
        request_hash, hold_id, _ = memory.keys[name_of(order.key)]
        if request_hash != order.key.request_hash:
            raise IdempotencyKeyReused
        return memory.holds[hold_id].placed

    async def take_over(self, tenant_id: str, order: Order) -> Hold:
        """Make a person's hold a booking's."""
        before = await self.placed_before(tenant_id, order)
        if before is not None:
            return before
        kept = self._own(tenant_id, order.hold_id, order.user_id)
        if self.status(kept.hold) is not HoldStatus.HELD or kept.hold.booking_id:
            raise HoldEnded(status=self.status(kept.hold))
        kept.hold = replace(kept.hold, booking_id=order.booking_id, expire_time=self.clock.now() + order.ttl)
        kept.step = order.step
        return kept.hold

    async def get(self, tenant_id: str, hold_id: str) -> Hold | None:
        """One hold."""
        kept = self.memory(tenant_id).holds.get(hold_id)
        return replace(kept.hold, status=self.status(kept.hold)) if kept is not None else None

    async def extend(self, tenant_id: str, change: HoldChange, ttl: timedelta) -> Hold:
        """Keep a person's hold longer."""
        answered = self._answered(tenant_id, change.key)
        if answered is not None:
            return answered
        kept = self._own(tenant_id, change.hold_id, change.user_id)
        if kept.hold.booking_id or self.status(kept.hold) is not HoldStatus.HELD:
            raise HoldEnded(status=self.status(kept.hold))
        until = max(kept.hold.expire_time, self.clock.now() + ttl)
        if until > kept.hold.create_time + LONGEST_LIFE:
            raise ExtensionTooLong(latestExpireTime=as_text(kept.hold.create_time + LONGEST_LIFE))
        kept.hold = replace(kept.hold, expire_time=until)
        return self._answer(tenant_id, change.key, kept.hold)

    async def release(self, tenant_id: str, change: HoldChange) -> Hold:
        """Give a person's hold back."""
        answered = self._answered(tenant_id, change.key)
        if answered is not None:
            return answered
        kept = self._own(tenant_id, change.hold_id, change.user_id)
        if kept.hold.booking_id:
            raise HoldEnded(status=self.status(kept.hold))
        self._move(kept, HoldStatus.RELEASED)
        return self._answer(tenant_id, change.key, kept.hold)

    async def post(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Sell a booking's hold."""
        kept = self._of_booking(tenant_id, booking_id, step)
        if kept is None:
            raise NotFound(resource="hold")
        return self._moved(kept, HoldStatus.POSTED)

    async def void(self, tenant_id: str, hold_id: str, booking_id: str, step: str) -> None:
        """Give a booking's hold up, or see to it that there never is one."""
        kept = self._of_booking(tenant_id, booking_id, step)
        now = self.clock.now()
        if kept is None:
            never = Hold(hold_id, "", HoldStatus.VOIDED, (), now, now, booking_id)
            self.memory(tenant_id).holds[hold_id] = Kept(never, (), never, step)
        elif kept.hold.status is HoldStatus.POSTED:
            raise HoldEnded(status=HoldStatus.POSTED)
        else:
            self._move(kept, HoldStatus.VOIDED)

    async def cancel(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Free the units of a booking's sold hold."""
        kept = self._of_booking(tenant_id, booking_id, step)
        if kept is None:
            raise NotFound(resource="hold")
        return self._moved(kept, HoldStatus.CANCELLED)

    async def sweep(self, limit: int) -> int:
        """Mark holds that time has ended."""
        ended = 0
        for memory in self.tenants.values():
            for kept in memory.holds.values():
                if self.status(kept.hold) is not kept.hold.status and ended < limit:
                    kept.hold = replace(kept.hold, status=HoldStatus.EXPIRED)
                    ended += 1
        return ended

    # Grants

    async def pending(self, limit: int) -> Sequence[Grant]:
        """All ownerships that auth does not know of."""
        grants = [
            Grant(tenant_id, vendor.vendor_id, vendor.owner_user_id)
            for tenant_id, memory in self.tenants.items()
            for vendor in memory.vendors.values()
            if vendor.vendor_id not in memory.granted
        ]
        return grants[:limit]

    async def done(self, grant: Grant) -> None:
        """Auth knows of it."""
        self.memory(grant.tenant_id).granted.add(grant.vendor_id)

    def _check(self, tenant_id: str, claim: Claim, taken: dict[tuple[str, int], int], now: datetime) -> None:
        resource = self.memory(tenant_id).resources.get(claim.resource_id)
        if resource is None or resource.version != claim.version:
            raise ResourceStale(frozenset({claim.resource_id}))
        if claim.bookable_until <= now:
            raise NotBookable(refusals="IN_THE_PAST", resourceId=claim.resource_id)
        free = min(
            resource.capacity - self.used(tenant_id, claim.resource_id, cell) - taken.get((claim.resource_id, cell), 0)
            for cell in range(claim.cells.first, claim.cells.last + 1)
        )
        if free < claim.quantity:
            raise UnitsTaken(available=str(max(free, 0)), resourceId=claim.resource_id)

    def _own(self, tenant_id: str, hold_id: str, user_id: str) -> Kept:
        kept = self.memory(tenant_id).holds.get(hold_id)
        if kept is None or kept.hold.user_id != user_id:
            raise NotFound(resource="hold")
        return kept

    def _of_booking(self, tenant_id: str, booking_id: str, step: str) -> Kept | None:
        for kept in self.memory(tenant_id).holds.values():
            if (kept.hold.booking_id, kept.step) == (booking_id, step):
                return kept
        return None

    def _move(self, kept: Kept, to: HoldStatus) -> None:
        status = self.status(kept.hold)
        kept.hold = replace(kept.hold, status=to if to in HOLD_MOVES[status] else status)

    def _moved(self, kept: Kept, to: HoldStatus) -> Hold:
        self._move(kept, to)
        if kept.hold.status is not to:
            raise HoldEnded(status=kept.hold.status)
        return kept.hold

    def _answered(self, tenant_id: str, key: IdempotencyKey | None) -> Hold | None:
        if key is None or name_of(key) not in self.memory(tenant_id).keys:
            return None
        request_hash, _, answer = self.memory(tenant_id).keys[name_of(key)]
        if request_hash != key.request_hash:
            raise IdempotencyKeyReused
        return answer if isinstance(answer, Hold) else None

    def _answer(self, tenant_id: str, key: IdempotencyKey | None, hold: Hold) -> Hold:
        if key is not None:
            self.memory(tenant_id).keys[name_of(key)] = (key.request_hash, hold.hold_id, hold)
        return hold


class FakeDirectory:
    """Auth, as far as it knows who owns what; it can be out."""

    def __init__(self) -> None:
        self.owners: set[tuple[str, str, str]] = set()
        self.out = False

    async def grant_vendor(self, tenant_id: str, user_id: str, vendor_id: str) -> None:
        """Remember an owner."""
        if self.out:
            raise DependencyUnavailable
        self.owners.add((tenant_id, user_id, vendor_id))


def fake_ports(clock: FixedClock) -> tuple[Ports, FakeStore, FakeDirectory]:
    """All ports, and what is behind them."""
    store, directory = FakeStore(clock), FakeDirectory()
    return Ports(clock=clock, catalog=store, holds=store, grants=store, directory=directory), store, directory
