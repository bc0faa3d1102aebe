"""What inventory's fakes remember, and a transaction on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.inventory.domain.catalog import Resource, Vendor
from services.inventory.domain.holds import Claim, Hold, Quote
from services.inventory.domain.items import EPOCH, night
from services.inventory.domain.zones import MINUTE

if TYPE_CHECKING:
    from tests.unit.inventory.fakes import FakeStore

KeyName = tuple[str, str, str, str]


@dataclass
class Kept:
    """A hold with what it claims and what it was placed as."""

    hold: Hold
    claims: tuple[Claim, ...]
    placed: Hold
    step: str = ""


@dataclass
class Memory:
    """Everything that a tenant's tables would hold."""

    vendors: dict[str, Vendor] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    quotes: dict[str, Quote] = field(default_factory=dict)
    holds: dict[str, Kept] = field(default_factory=dict)
    keys: dict[KeyName, tuple[bytes, str, object]] = field(default_factory=dict)
    granted: set[str] = field(default_factory=set)
    events: list[tuple[str, int]] = field(default_factory=list)


class FakeWork:
    """The port Work over a tenant's memory."""

    def __init__(self, store: FakeStore, tenant_id: str) -> None:
        self._store = store
        self._tenant_id = tenant_id
        self._key: IdempotencyKey | None = None

    @property
    def _memory(self) -> Memory:
        return self._store.memory(self._tenant_id)

    async def replayed_vendor(self, key: IdempotencyKey | None, vendor_id: str) -> Vendor | None:
        """Claim the key for a vendor."""
        answer = self._claimed(key, vendor_id)
        return answer if isinstance(answer, Vendor) else None

    async def replayed_resource(self, key: IdempotencyKey | None, resource_id: str) -> Resource | None:
        """Claim the key for a resource."""
        answer = self._claimed(key, resource_id)
        return answer if isinstance(answer, Resource) else None

    async def replayed_quote(self, key: IdempotencyKey | None, quote_id: str) -> Quote | None:
        """Claim the key for a quote."""
        answer = self._claimed(key, quote_id)
        return answer if isinstance(answer, Quote) else None

    async def vendor(self, vendor_id: str) -> Vendor | None:
        """A vendor."""
        return self._memory.vendors.get(vendor_id)

    async def resource(self, resource_id: str) -> Resource | None:
        """A resource."""
        return self._memory.resources.get(resource_id)

    async def units_in_use(self, resource_id: str) -> int:
        """The most units held or sold at any time from now on."""
        resource = self._memory.resources[resource_id]
        claims = [
            claim for kept in self._memory.holds.values() for claim in kept.claims if claim.resource_id == resource_id
        ]
        cells = {cell for claim in claims for cell in range(claim.cells.first, claim.cells.last + 1)}
        return max(
            (
                self._store.used(self._tenant_id, resource_id, cell)
                for cell in cells
                if cell >= _current(resource, self._store.clock.now())
            ),
            default=0,
        )

    async def add_vendor(self, vendor: Vendor) -> None:
        """Store a vendor."""
        await self.save_vendor(vendor)

    async def save_vendor(self, vendor: Vendor) -> None:
        """Store a vendor."""
        self._memory.vendors[vendor.vendor_id] = vendor
        self._saved(vendor.vendor_id, vendor.version, vendor)

    async def add_resource(self, resource: Resource) -> None:
        """Store a resource."""
        await self.save_resource(resource)

    async def save_resource(self, resource: Resource) -> None:
        """Store a resource."""
        self._memory.resources[resource.resource_id] = resource
        self._saved(resource.resource_id, resource.version, resource)

    async def now(self) -> datetime:
        """The time."""
        return self._store.clock.now()

    async def add_quote(self, quote: Quote) -> None:
        """Store a quote."""
        self._memory.quotes[quote.quote_id] = quote
        if self._key is not None:
            self._memory.keys[name_of(self._key)] = (self._key.request_hash, quote.quote_id, quote)

    def _claimed(self, key: IdempotencyKey | None, object_id: str) -> object | None:
        if key is None:
            return None
        known = self._memory.keys.get(name_of(key))
        if known is None:
            self._memory.keys[name_of(key)] = (key.request_hash, object_id, None)
            self._key = key
            return None
        request_hash, known_id, answer = known
        if request_hash != key.request_hash:
            raise IdempotencyKeyReused
        return answer or self._memory.vendors.get(known_id) or self._memory.resources.get(known_id)

    def _saved(self, object_id: str, version: int, answer: object) -> None:
        self._memory.events.append((object_id, version))
        if self._key is not None:
            self._memory.keys[name_of(self._key)] = (self._key.request_hash, object_id, answer)


def name_of(key: IdempotencyKey) -> KeyName:
    """What a key is unique by."""
    return (key.tenant_id, key.principal, key.method, key.key)


def _current(resource: Resource, now: datetime) -> int:
    if resource.appointment is None:
        return night(now.date()) - 1
    return (now - EPOCH) // (resource.cell_minutes * MINUTE)
