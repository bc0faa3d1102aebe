"""Rows to and from the domain; priced items are kept as JSON, as they were sold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from services.chassis.money import Money
from services.inventory.domain.catalog import (
    AppointmentRules,
    CancellationPolicy,
    Kind,
    Opening,
    Price,
    Resource,
    ResourceStatus,
    StayRules,
    Vendor,
    VendorStatus,
)
from services.inventory.domain.holds import Hold, HoldStatus, Quote
from services.inventory.domain.items import Item, Nights, Times
from services.inventory.domain.pricing import LineKind, PricedItem, PriceLine

Json = Mapping[str, Any]


def vendor_of(row: Any) -> Vendor:
    """A vendor from its row."""
    return Vendor(
        vendor_id=row.vendor_id,
        display_name=row.display_name,
        status=VendorStatus(row.status),
        owner_user_id=row.owner_user_id,
        create_time=row.create_time,
        update_time=row.update_time,
        version=row.version,
        review_note=row.review_note,
    )


def vendor_row(vendor: Vendor) -> dict[str, Any]:
    """A vendor's columns."""
    return {**asdict(vendor), "status": str(vendor.status)}


def resource_of(row: Any) -> Resource:
    """A resource from its row."""
    return Resource(
        resource_id=row.resource_id,
        vendor_id=row.vendor_id,
        name=row.name,
        kind=Kind(row.kind),
        time_zone=row.time_zone,
        capacity=row.capacity,
        price=Price(Money(row.currency, row.unit_minor), Money(row.currency, row.fee_minor), row.tax_basis_points),
        create_time=row.create_time,
        update_time=row.update_time,
        stay=StayRules(**row.stay) if row.stay else None,
        appointment=_appointment_of(row.appointment) if row.appointment else None,
        description=row.description,
        status=ResourceStatus(row.status),
        cancellation_policy=CancellationPolicy(row.cancellation_policy),
        version=row.version,
    )


def resource_row(resource: Resource) -> dict[str, Any]:
    """A resource's columns."""
    return {
        "resource_id": resource.resource_id,
        "vendor_id": resource.vendor_id,
        "name": resource.name,
        "description": resource.description,
        "kind": str(resource.kind),
        "time_zone": resource.time_zone,
        "status": str(resource.status),
        "capacity": resource.capacity,
        "cell_minutes": resource.cell_minutes,
        "currency": resource.price.unit.currency,
        "unit_minor": resource.price.unit.minor,
        "fee_minor": resource.price.fee.minor,
        "tax_basis_points": resource.price.tax_basis_points,
        "stay": asdict(resource.stay) if resource.stay else None,
        "appointment": asdict(resource.appointment) if resource.appointment else None,
        "cancellation_policy": str(resource.cancellation_policy),
        "version": resource.version,
        "create_time": resource.create_time,
        "update_time": resource.update_time,
    }


def quote_of(row: Any) -> Quote:
    """A quote from its row."""
    return Quote(row.quote_id, row.user_id, items_of(row.items), row.create_time, row.expire_time)


def hold_of(row: Any) -> Hold:
    """A hold from what the functions answer."""
    return Hold(
        hold_id=row.o_hold_id,
        user_id=row.o_user_id,
        status=HoldStatus(row.o_status),
        items=items_of(row.o_items),
        create_time=row.o_create_time,
        expire_time=row.o_expire_time,
        booking_id=row.o_booking_id,
    )


def items_json(items: Iterable[PricedItem]) -> str:
    """Priced items as they are kept."""
    return json.dumps([_item_json(priced) for priced in items], separators=(",", ":"))


def items_of(kept: Iterable[Json]) -> tuple[PricedItem, ...]:
    """Priced items from how they are kept."""
    return tuple(_item_of(priced) for priced in kept)


def _item_json(priced: PricedItem) -> Json:
    asked = priced.item.range
    kind = "date" if isinstance(asked, Nights) else "time"
    return {
        "resource_id": priced.item.resource_id,
        f"start_{kind}": asked.start.isoformat(),
        f"end_{kind}": asked.end.isoformat(),
        "quantity": priced.item.quantity,
        "vendor_id": priced.vendor_id,
        "resource_name": priced.resource_name,
        "time_zone": priced.time_zone,
        "begin_time": priced.begin_time.isoformat(),
        "finish_time": priced.finish_time.isoformat(),
        "currency": priced.lines[0].amount.currency,
        # Kind, quantity, price of one, amount: prices in minor units.
        "lines": [[line.kind, line.quantity, line.unit_price.minor, line.amount.minor] for line in priced.lines],
        "cancellation_policy": priced.cancellation_policy,
    }


def _item_of(kept: Json) -> PricedItem:
    asked = (
        Nights(date.fromisoformat(kept["start_date"]), date.fromisoformat(kept["end_date"]))
        if "start_date" in kept
        else Times(datetime.fromisoformat(kept["start_time"]), datetime.fromisoformat(kept["end_time"]))
    )
    currency = kept["currency"]
    return PricedItem(
        item=Item(kept["resource_id"], asked, kept["quantity"]),
        vendor_id=kept["vendor_id"],
        resource_name=kept["resource_name"],
        time_zone=kept["time_zone"],
        begin_time=datetime.fromisoformat(kept["begin_time"]),
        finish_time=datetime.fromisoformat(kept["finish_time"]),
        lines=tuple(
            PriceLine(LineKind(kind), quantity, Money(currency, unit), Money(currency, amount))
            for kind, quantity, unit, amount in kept["lines"]
        ),
        cancellation_policy=CancellationPolicy(kept["cancellation_policy"]),
    )


def _appointment_of(kept: Json) -> AppointmentRules:
    openings = tuple(Opening(**opening) for opening in kept["openings"])
    return AppointmentRules(**{**kept, "openings": openings})
