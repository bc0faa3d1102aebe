"""The demo marketplace's file, as far as it is about vendors and resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.chassis.money import Money
from services.inventory.domain.catalog import (
    DEFAULT_CHECK_IN,
    DEFAULT_CHECK_OUT,
    DEFAULT_MAX_NIGHTS,
    AppointmentRules,
    CancellationPolicy,
    Kind,
    Opening,
    Price,
    Resource,
    StayRules,
    Vendor,
    VendorStatus,
)
from services.inventory.wire.fields import minutes_from

DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def demo_vendors(document: Mapping[str, Any], now: datetime) -> Sequence[Vendor]:
    """Its vendors, approved from the start."""
    return [
        Vendor(vendor["id"], vendor["name"], VendorStatus.APPROVED, vendor["owner"], create_time=now, update_time=now)
        for vendor in document.get("vendors", [])
    ]


def demo_resources(document: Mapping[str, Any], now: datetime) -> Sequence[Resource]:
    """What they sell."""
    return [_resource(found, now) for found in document.get("resources", [])]


def _resource(found: Mapping[str, Any], now: datetime) -> Resource:
    kind = Kind(found["kind"])
    price = found["price"]
    unit = Money.parse(price["currency"], price["amount"])
    return Resource(
        resource_id=found["id"],
        vendor_id=found["vendor"],
        name=found["name"],
        kind=kind,
        time_zone=found["time_zone"],
        capacity=found["capacity"],
        price=Price(unit, Money.parse(unit.currency, price.get("fee", "0")), price.get("tax_basis_points", 0)),
        create_time=now,
        update_time=now,
        stay=_stay(found) if kind is Kind.STAY else None,
        appointment=_appointment(found) if kind is Kind.APPOINTMENT else None,
        description=found.get("description", ""),
        cancellation_policy=CancellationPolicy(found.get("cancellation_policy", CancellationPolicy.MODERATE)),
    )


def _stay(found: Mapping[str, Any]) -> StayRules:
    return StayRules(
        min_nights=found.get("min_nights", 1),
        max_nights=found.get("max_nights", DEFAULT_MAX_NIGHTS),
        check_in=minutes_from(found["check_in_time"]) if "check_in_time" in found else DEFAULT_CHECK_IN,
        check_out=minutes_from(found["check_out_time"]) if "check_out_time" in found else DEFAULT_CHECK_OUT,
    )


def _appointment(found: Mapping[str, Any]) -> AppointmentRules:
    return AppointmentRules(
        slot_minutes=found["slot_minutes"],
        max_slots=found.get("max_slots", 1),
        buffer_minutes=found.get("buffer_minutes", 0),
        openings=tuple(
            Opening(DAYS.index(day) + 1, minutes_from(hours["opens"]), minutes_from(hours["closes"]))
            for hours in found.get("opening_hours", [])
            for day in hours["days"]
        ),
    )
