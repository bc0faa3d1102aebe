"""Vendors and resources on the wire."""

from __future__ import annotations

from berth.inventory.v1 import catalog_service_pb2 as messages
from berth.inventory.v1 import resource_pb2

from services.chassis.instants import instant_to
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
    ResourceStatus,
    StayRules,
    Vendor,
    VendorStatus,
    etag_of,
)
from services.inventory.usecases.resources import CreateResource, UpdateResource
from services.inventory.usecases.vendors import UpdateVendor
from services.inventory.wire.fields import (
    instant_from,
    invalid,
    masked,
    minutes_from,
    minutes_to,
    money_from,
    money_to,
    name_from,
)

_VENDOR_FIELDS = frozenset({"display_name"})
_RESOURCE_FIELDS = frozenset({"name", "description", "capacity", "price", "stay", "appointment", "cancellation_policy"})


def vendor_to(vendor: Vendor) -> resource_pb2.Vendor:
    """Write a vendor."""
    return resource_pb2.Vendor(
        vendor_id=vendor.vendor_id,
        display_name=vendor.display_name,
        status=resource_pb2.Vendor.Status.Value(vendor.status),
        owner_user_id=vendor.owner_user_id,
        create_time=instant_to(vendor.create_time),
        update_time=instant_to(vendor.update_time),
        etag=etag_of(vendor.version),
    )


def vendor_from(sent: resource_pb2.Vendor) -> Vendor:
    """Read a vendor that was written by this service."""
    return Vendor(
        vendor_id=sent.vendor_id,
        display_name=sent.display_name,
        status=VendorStatus(resource_pb2.Vendor.Status.Name(sent.status)),
        owner_user_id=sent.owner_user_id,
        create_time=instant_from(sent.create_time, "create_time"),
        update_time=instant_from(sent.update_time, "update_time"),
        version=_version(sent.etag),
    )


def resource_to(resource: Resource) -> resource_pb2.Resource:
    """Write a resource."""
    return resource_pb2.Resource(
        resource_id=resource.resource_id,
        vendor_id=resource.vendor_id,
        name=resource.name,
        description=resource.description,
        kind=resource_pb2.Resource.Kind.Value(resource.kind),
        time_zone=resource.time_zone,
        status=resource_pb2.Resource.Status.Value(resource.status),
        capacity=resource.capacity,
        price=_price_to(resource.price),
        stay=_stay_to(resource.stay) if resource.stay else None,
        appointment=_appointment_to(resource.appointment) if resource.appointment else None,
        cancellation_policy=resource_pb2.Resource.CancellationPolicy.Value(resource.cancellation_policy),
        create_time=instant_to(resource.create_time),
        update_time=instant_to(resource.update_time),
        etag=etag_of(resource.version),
    )


def resource_from(sent: resource_pb2.Resource) -> Resource:
    """Read a resource that was written by this service."""
    return Resource(
        resource_id=sent.resource_id,
        vendor_id=sent.vendor_id,
        name=sent.name,
        kind=Kind(resource_pb2.Resource.Kind.Name(sent.kind)),
        time_zone=sent.time_zone,
        capacity=sent.capacity,
        price=_price_from(sent.price),
        create_time=instant_from(sent.create_time, "create_time"),
        update_time=instant_from(sent.update_time, "update_time"),
        stay=_stay_from(sent.stay) if sent.HasField("stay") else None,
        appointment=_appointment_from(sent.appointment) if sent.HasField("appointment") else None,
        description=sent.description,
        status=ResourceStatus(resource_pb2.Resource.Status.Name(sent.status)),
        cancellation_policy=_policy_from(sent.cancellation_policy),
        version=_version(sent.etag),
    )


def vendor_update_from(sent: messages.UpdateVendorRequest) -> UpdateVendor:
    """Read what to change of a vendor."""
    present = [name for name in _VENDOR_FIELDS if sent.HasField(name)]  # type: ignore[arg-type]  # names of its fields
    wanted = masked(sent.update_mask.paths, _VENDOR_FIELDS, present)
    return UpdateVendor(
        vendor_id=sent.vendor_id,
        display_name=name_from(sent.display_name, "display_name") if "display_name" in wanted else None,
        etag=sent.etag,
    )


def resource_creation_from(sent: messages.CreateResourceRequest) -> CreateResource:
    """Read a resource to create."""
    return CreateResource(
        vendor_id=sent.vendor_id,
        name=name_from(sent.name, "name"),
        kind=Kind(resource_pb2.Resource.Kind.Name(sent.kind)),
        time_zone=sent.time_zone,
        capacity=sent.capacity,
        price=_price_from(sent.price),
        stay=_stay_from(sent.stay) if sent.HasField("stay") else None,
        appointment=_appointment_from(sent.appointment) if sent.HasField("appointment") else None,
        description=sent.description,
        cancellation_policy=_policy_from(sent.cancellation_policy),
    )


def resource_update_from(sent: messages.UpdateResourceRequest) -> UpdateResource:
    """Read what to change of a resource; a masked field that is absent goes back to its default, where it has one."""
    present = [name for name in _RESOURCE_FIELDS if sent.HasField(name)]  # type: ignore[arg-type]  # names of its fields
    wanted = masked(sent.update_mask.paths, _RESOURCE_FIELDS, present)
    for name in ("name", "capacity", "price", "appointment"):
        if name in wanted and name not in present:
            raise invalid(name, "is required")
    return UpdateResource(
        resource_id=sent.resource_id,
        etag=sent.etag,
        name=name_from(sent.name, "name") if "name" in wanted else None,
        description=sent.description if "description" in wanted else None,
        capacity=sent.capacity if "capacity" in wanted else None,
        price=_price_from(sent.price) if "price" in wanted else None,
        stay=_stay_from(sent.stay) if "stay" in wanted else None,
        appointment=_appointment_from(sent.appointment) if "appointment" in wanted else None,
        cancellation_policy=_policy_from(sent.cancellation_policy) if "cancellation_policy" in wanted else None,
    )


def vendor_status_from(sent: resource_pb2.Vendor.Status.ValueType) -> VendorStatus | None:
    """Read a filter by status; none when it is absent."""
    return VendorStatus(resource_pb2.Vendor.Status.Name(sent)) if sent else None


def policy_to(policy: CancellationPolicy) -> resource_pb2.Resource.CancellationPolicy.ValueType:
    """Write a cancellation policy."""
    return resource_pb2.Resource.CancellationPolicy.Value(policy)


def _policy_from(sent: resource_pb2.Resource.CancellationPolicy.ValueType) -> CancellationPolicy:
    if not sent:
        return CancellationPolicy.MODERATE
    return CancellationPolicy(resource_pb2.Resource.CancellationPolicy.Name(sent))


def _price_from(sent: resource_pb2.Price) -> Price:
    unit = money_from(sent.unit_price, "price.unit_price")
    fee = money_from(sent.fee, "price.fee") if sent.HasField("fee") else Money.zero(unit.currency)
    return Price(unit, fee, sent.tax_basis_points)


def _price_to(price: Price) -> resource_pb2.Price:
    return resource_pb2.Price(
        unit_price=money_to(price.unit), fee=money_to(price.fee), tax_basis_points=price.tax_basis_points
    )


def _stay_from(sent: resource_pb2.StayRules) -> StayRules:
    least = sent.min_nights or 1
    return StayRules(
        min_nights=least,
        # A minimum above the default maximum lifts it.
        max_nights=sent.max_nights or max(least, DEFAULT_MAX_NIGHTS),
        check_in=minutes_from(sent.check_in_time) if sent.check_in_time else DEFAULT_CHECK_IN,
        check_out=minutes_from(sent.check_out_time) if sent.check_out_time else DEFAULT_CHECK_OUT,
    )


def _stay_to(rules: StayRules) -> resource_pb2.StayRules:
    return resource_pb2.StayRules(
        min_nights=rules.min_nights,
        max_nights=rules.max_nights,
        check_in_time=minutes_to(rules.check_in),
        check_out_time=minutes_to(rules.check_out),
    )


def _appointment_from(sent: resource_pb2.AppointmentRules) -> AppointmentRules:
    return AppointmentRules(
        slot_minutes=sent.slot_minutes,
        max_slots=sent.max_slots or 1,
        buffer_minutes=sent.buffer_minutes,
        openings=tuple(
            Opening(opening.day_of_week, minutes_from(opening.open), minutes_from(opening.close))
            for opening in sent.opening_hours
        ),
    )


def _appointment_to(rules: AppointmentRules) -> resource_pb2.AppointmentRules:
    return resource_pb2.AppointmentRules(
        slot_minutes=rules.slot_minutes,
        max_slots=rules.max_slots,
        buffer_minutes=rules.buffer_minutes,
        opening_hours=[
            resource_pb2.OpeningHours(
                day_of_week=opening.day_of_week, open=minutes_to(opening.open), close=minutes_to(opening.close)
            )
            for opening in rules.openings
        ],
    )


def _version(etag: str) -> int:
    return int(etag.removeprefix("v"))
