"""Things that inventory's tests are about, made with few words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.inventory.domain.catalog import (
    AppointmentRules,
    Kind,
    Opening,
    Price,
    Resource,
    StayRules,
    Vendor,
    VendorStatus,
)
from services.inventory.domain.items import Item, Nights, Times
from services.inventory.ports import Ports

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY_AND_NIGHT = tuple(Opening(day, 0, 1440) for day in range(1, 8))


def an_id(prefix: str) -> str:
    """A new id."""
    return new_id(prefix, at=datetime.now(UTC))


def a_person(tenant_id: str, *permissions: str, vendor_ids: frozenset[str] = frozenset()) -> Principal:
    """Somebody who is signed in."""
    return Principal("user", tenant_id, an_id("usr"), frozenset(permissions), vendor_ids)


def the_booking(tenant_id: str) -> Principal:
    """The booking service, for somebody."""
    return Principal("service", tenant_id, "booking")


def a_key(caller: Principal, name: str, body: str = "", method: str = "/x.Y/Z") -> IdempotencyKey:
    """An idempotency key with the hash of what was sent."""
    return IdempotencyKey(caller.tenant_id, caller.subject, method, name, sha256(body.encode()).digest())


def a_vendor(owner: Principal, at: datetime = NOW, status: VendorStatus = VendorStatus.APPROVED) -> Vendor:
    """Somebody who sells."""
    return Vendor(an_id("vnd"), "Harbour", status, owner.subject, at, at)


def a_price(amount: str = "100.00", fee: str = "0.00", tax: int = 0, currency: str = "EUR") -> Price:
    """What a unit costs."""
    return Price(Money.parse(currency, amount), Money.parse(currency, fee), tax)


def a_stay(vendor: Vendor, *, capacity: int = 1, time_zone: str = "Europe/Berlin", max_nights: int = 30) -> Resource:
    """Rooms by the night."""
    return Resource(
        resource_id=an_id("res"),
        vendor_id=vendor.vendor_id,
        name="Room",
        kind=Kind.STAY,
        time_zone=time_zone,
        capacity=capacity,
        price=a_price(),
        create_time=vendor.create_time,
        update_time=vendor.create_time,
        stay=StayRules(max_nights=max_nights),
    )


def appointments(
    vendor: Vendor,
    rules: AppointmentRules | None = None,
    *,
    capacity: int = 1,
    time_zone: str = "Europe/Berlin",
) -> Resource:
    """Slots of somebody's time."""
    return Resource(
        resource_id=an_id("res"),
        vendor_id=vendor.vendor_id,
        name="Doctor",
        kind=Kind.APPOINTMENT,
        time_zone=time_zone,
        capacity=capacity,
        price=a_price("30.00"),
        create_time=vendor.create_time,
        update_time=vendor.create_time,
        appointment=rules or AppointmentRules(30, max_slots=4, buffer_minutes=10, openings=DAY_AND_NIGHT),
    )


def nights(resource: Resource, start: date | str, count: int = 1, quantity: int = 1) -> Item:
    """Some nights of a resource."""
    first = date.fromisoformat(start) if isinstance(start, str) else start
    return Item(resource.resource_id, Nights(first, first + timedelta(days=count)), quantity)


def slot(resource: Resource, start: datetime, count: int = 1, quantity: int = 1) -> Item:
    """Some slots of a resource."""
    minutes = resource.appointment.slot_minutes if resource.appointment else 0
    return Item(resource.resource_id, Times(start, start + timedelta(minutes=count * minutes)), quantity)


async def stocked(ports: Ports, tenant_id: str, vendor: Vendor, *resources: Resource) -> None:
    """Store a vendor and what it sells."""
    async with ports.catalog.begin(tenant_id) as work:
        await work.add_vendor(vendor)
        for resource in resources:
            await work.add_resource(resource)
