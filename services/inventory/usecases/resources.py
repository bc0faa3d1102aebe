"""Verbs of resources: what vendors sell, changed without breaking what was sold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import EtagMismatch, InvalidField, NotFound, UpdateMaskInvalid, Violation
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.principal import Principal
from services.inventory.domain.catalog import (
    AppointmentRules,
    CancellationPolicy,
    Kind,
    Price,
    Resource,
    ResourceStatus,
    StayRules,
    VendorStatus,
    check_rules,
    check_zone,
    etag_of,
)
from services.inventory.domain.errors import CapacityInUse, VendorStateInvalid
from services.inventory.ports import Ports, Work
from services.inventory.usecases.vendors import is_theirs


@dataclass(frozen=True, slots=True)
class CreateResource:
    """A resource to create."""

    vendor_id: str
    name: str
    kind: Kind
    time_zone: str
    capacity: int
    price: Price
    stay: StayRules | None = None
    appointment: AppointmentRules | None = None
    description: str = ""
    cancellation_policy: CancellationPolicy = CancellationPolicy.MODERATE


@dataclass(frozen=True, slots=True)
class UpdateResource:
    """What to change of a resource; what is None stays."""

    resource_id: str
    etag: str = ""
    name: str | None = None
    description: str | None = None
    capacity: int | None = None
    price: Price | None = None
    stay: StayRules | None = None
    appointment: AppointmentRules | None = None
    cancellation_policy: CancellationPolicy | None = None


async def create_resource(
    ports: Ports, caller: Principal, command: CreateResource, key: IdempotencyKey | None
) -> Resource:
    """Create a resource of an approved vendor."""
    check_zone(command.time_zone)
    check_rules(command.price, command.stay, command.appointment)
    now = ports.clock.now()
    resource = Resource(
        resource_id=new_id("res", at=now, shard=shard_of(command.vendor_id)),
        vendor_id=command.vendor_id,
        name=command.name,
        kind=command.kind,
        time_zone=command.time_zone,
        capacity=command.capacity,
        price=command.price,
        create_time=now,
        update_time=now,
        stay=(command.stay or StayRules()) if command.kind is Kind.STAY else None,
        appointment=command.appointment,
        description=command.description,
        cancellation_policy=command.cancellation_policy,
    )
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_resource(key, resource.resource_id)
        if replayed is not None:
            return replayed
        vendor = await work.vendor(command.vendor_id)
        if vendor is None or not is_theirs(caller, vendor):
            raise NotFound(resource="vendor")
        if vendor.status is not VendorStatus.APPROVED:
            raise VendorStateInvalid(status=vendor.status)
        await work.add_resource(resource)
    return resource


async def get_resource(ports: Ports, caller: Principal, resource_id: str) -> Resource:
    """Read a resource."""
    found = await ports.catalog.resources(caller.tenant_id, [resource_id])
    if resource_id not in found:
        raise NotFound(resource="resource")
    return found[resource_id]


async def list_resources(
    ports: Ports, caller: Principal, vendor_id: str, before: str, limit: int
) -> Sequence[Resource]:
    """List resources, newest first; a vendor's people see its archived ones too."""
    archived = bool(vendor_id) and caller.works_for(vendor_id)
    return await ports.catalog.resources_of(caller.tenant_id, vendor_id, before, limit, archived=archived)


async def update_resource(
    ports: Ports, caller: Principal, command: UpdateResource, key: IdempotencyKey | None
) -> Resource:
    """Change a resource. What was sold stays as it was sold."""
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_resource(key, command.resource_id)
        if replayed is not None:
            return replayed
        resource = await _theirs(work, caller, command.resource_id)
        if command.etag and command.etag != etag_of(resource.version):
            raise EtagMismatch
        _check_change(resource, command)
        if command.capacity is not None and command.capacity < resource.capacity:
            in_use = await work.units_in_use(resource.resource_id)
            if command.capacity < in_use:
                raise CapacityInUse(inUse=str(in_use))
        changed = replace(
            resource,
            name=resource.name if command.name is None else command.name,
            description=resource.description if command.description is None else command.description,
            capacity=command.capacity or resource.capacity,
            price=command.price or resource.price,
            stay=command.stay or resource.stay,
            appointment=command.appointment or resource.appointment,
            cancellation_policy=command.cancellation_policy or resource.cancellation_policy,
            version=resource.version + 1,
            update_time=ports.clock.now(),
        )
        await work.save_resource(changed)
    return changed


async def archive_resource(
    ports: Ports, caller: Principal, resource_id: str, etag: str, key: IdempotencyKey | None
) -> Resource:
    """ACTIVE → ARCHIVED: no new bookings; those that exist stay."""
    async with ports.catalog.begin(caller.tenant_id) as work:
        replayed = await work.replayed_resource(key, resource_id)
        if replayed is not None:
            return replayed
        resource = await _theirs(work, caller, resource_id)
        if resource.status is ResourceStatus.ARCHIVED:
            return resource
        if etag and etag != etag_of(resource.version):
            raise EtagMismatch
        archived = replace(
            resource,
            status=ResourceStatus.ARCHIVED,
            version=resource.version + 1,
            update_time=ports.clock.now(),
        )
        await work.save_resource(archived)
    return archived


async def _theirs(work: Work, caller: Principal, resource_id: str) -> Resource:
    resource = await work.resource(resource_id)
    if resource is None:
        raise NotFound(resource="resource")
    if not caller.works_for(resource.vendor_id):
        vendor = await work.vendor(resource.vendor_id)
        if vendor is None or not is_theirs(caller, vendor):
            raise NotFound(resource="resource")
    return resource


def _check_change(resource: Resource, command: UpdateResource) -> None:
    if command.stay is not None and resource.kind is not Kind.STAY:
        raise InvalidField(violations=[Violation("stay", "belongs to a STAY")])
    if command.appointment is not None:
        if resource.appointment is None:
            raise InvalidField(violations=[Violation("appointment", "belongs to an APPOINTMENT")])
        if command.appointment.slot_minutes != resource.appointment.slot_minutes:
            raise UpdateMaskInvalid("The slots' length cannot be changed.", path="appointment.slotMinutes")
    if command.price is not None and command.price.unit.currency != resource.price.unit.currency:
        raise InvalidField(violations=[Violation("price.unit_price", "must stay in the same currency")])
    check_rules(command.price or resource.price, command.stay, command.appointment)
