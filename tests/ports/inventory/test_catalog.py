"""Vendors, resources, grants and calendars behave the same in memory and in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.chassis.errors import (
    EtagMismatch,
    IdempotencyKeyReused,
    InvalidField,
    NotFound,
    UpdateMaskInvalid,
)
from services.chassis.principal import Principal
from services.inventory.domain.catalog import AppointmentRules, Kind, Opening, ResourceStatus, VendorStatus, etag_of
from services.inventory.domain.errors import CapacityInUse, VendorStateInvalid
from services.inventory.domain.items import Code
from services.inventory.usecases import availability, holds, resources, vendors
from services.inventory.usecases.holds import PlaceHold
from services.inventory.usecases.resources import CreateResource, UpdateResource
from services.inventory.usecases.vendors import UpdateVendor
from services.inventory.workers import granter
from tests.ports.inventory.worlds import World
from tests.unit.inventory.builders import (
    DAY_AND_NIGHT,
    a_key,
    a_person,
    a_price,
    a_stay,
    a_vendor,
    an_id,
    appointments,
    nights,
    slot,
    stocked,
)

SOON = (datetime.now(UTC) + timedelta(days=30)).date()


@pytest.fixture
def owner(world: World) -> Principal:
    """Somebody who sells."""
    return a_person(world.tenant_id)


@pytest.fixture
def reviewer(world: World) -> Principal:
    """Somebody who reviews."""
    return a_person(world.tenant_id, "vendors.review")


async def test_a_vendor_moves_only_along_its_states(world: World, owner: Principal, reviewer: Principal) -> None:
    ports = world.ports
    vendor = await vendors.create_vendor(ports, owner, "Harbour", None)
    assert (vendor.status, vendor.owner_user_id) == (VendorStatus.DRAFT, owner.subject)
    with pytest.raises(VendorStateInvalid) as refused:
        await vendors.approve_vendor(ports, reviewer, vendor.vendor_id, None)
    assert refused.value.metadata == {"status": "DRAFT"}
    await vendors.submit_vendor(ports, owner, vendor.vendor_id, None)
    with pytest.raises(VendorStateInvalid):
        await vendors.submit_vendor(ports, owner, vendor.vendor_id, None)
    rejected = await vendors.reject_vendor(ports, reviewer, vendor.vendor_id, "Say more.", None)
    assert (rejected.status, rejected.review_note) == (VendorStatus.REJECTED, "Say more.")
    await vendors.submit_vendor(ports, owner, vendor.vendor_id, None)
    approved = await vendors.approve_vendor(ports, reviewer, vendor.vendor_id, None)
    assert (approved.status, approved.version, approved.review_note) == (VendorStatus.APPROVED, 5, "")
    with pytest.raises(VendorStateInvalid):
        await vendors.reject_vendor(ports, reviewer, vendor.vendor_id, "", None)


async def test_who_sees_a_vendor(world: World, owner: Principal, reviewer: Principal) -> None:
    ports = world.ports
    hidden = await vendors.create_vendor(ports, owner, "Hidden", None)
    shown = a_vendor(owner, datetime.now(UTC))
    await stocked(ports, world.tenant_id, shown)
    staff = a_person(world.tenant_id, vendor_ids=frozenset({hidden.vendor_id}))
    anybody, elsewhere = Principal("anonymous", world.tenant_id, ""), Principal("anonymous", an_id("ten"), "")
    sees = {owner: True, reviewer: True, staff: True, anybody: False, a_person(world.tenant_id): False}
    for caller, all_of_them in sees.items():
        found = [vendor.vendor_id for vendor in await vendors.list_vendors(ports, caller, None, "", 9)]
        assert sorted(found) == sorted([shown.vendor_id, hidden.vendor_id] if all_of_them else [shown.vendor_id])
        if all_of_them:
            assert await vendors.get_vendor(ports, caller, hidden.vendor_id) == hidden
        else:
            with pytest.raises(NotFound):
                await vendors.get_vendor(ports, caller, hidden.vendor_id)
    assert await vendors.list_vendors(ports, elsewhere, None, "", 9) == []
    drafts = await vendors.list_vendors(ports, reviewer, VendorStatus.DRAFT, "", 9)
    assert [vendor.vendor_id for vendor in drafts] == [hidden.vendor_id]


async def test_auth_is_told_of_owners_until_it_heard(world: World, owner: Principal) -> None:
    world.directory.out = True
    vendor = await vendors.create_vendor(world.ports, owner, "Harbour", None)
    assert world.directory.owners == set()
    world.directory.out = False
    world.hasten_grants()
    assert await granter(world.ports).tick() == 1
    assert world.directory.owners == {(world.tenant_id, owner.subject, vendor.vendor_id)}
    world.hasten_grants()
    assert await granter(world.ports).tick() == 0
    heard = await vendors.create_vendor(world.ports, owner, "Pier", None)
    assert (world.tenant_id, owner.subject, heard.vendor_id) in world.directory.owners


async def test_keys_answer_what_was_answered(world: World, owner: Principal) -> None:
    ports, key = world.ports, a_key(owner, "k", "Harbour")
    first = await vendors.create_vendor(ports, owner, "Harbour", key)
    rename = a_key(owner, "r", method="/u")
    renamed = await vendors.update_vendor(ports, owner, UpdateVendor(first.vendor_id, "Pier"), rename)
    await vendors.update_vendor(ports, owner, UpdateVendor(first.vendor_id, "Quay"), None)
    assert await vendors.create_vendor(ports, owner, "Harbour", key) == first
    assert await vendors.update_vendor(ports, owner, UpdateVendor(first.vendor_id, "Pier"), rename) == renamed
    with pytest.raises(IdempotencyKeyReused):
        await vendors.create_vendor(ports, owner, "Pier", a_key(owner, "k", "Pier"))
    assert (await vendors.get_vendor(ports, owner, first.vendor_id)).display_name == "Quay"


async def test_changing_a_vendor(world: World, owner: Principal) -> None:
    ports = world.ports
    vendor = await vendors.create_vendor(ports, owner, "Harbour", None)
    with pytest.raises(EtagMismatch):
        await vendors.update_vendor(ports, owner, UpdateVendor(vendor.vendor_id, "Pier", "v0"), None)
    with pytest.raises(NotFound):
        await vendors.update_vendor(ports, a_person(world.tenant_id), UpdateVendor(vendor.vendor_id, "Pier"), None)
    current = UpdateVendor(vendor.vendor_id, "Pier", etag_of(vendor.version))
    assert (await vendors.update_vendor(ports, owner, current, None)).display_name == "Pier"


async def test_creating_a_resource(world: World, owner: Principal) -> None:
    ports = world.ports
    vendor = await vendors.create_vendor(ports, owner, "Harbour", None)
    command = CreateResource(vendor.vendor_id, "Room", Kind.STAY, "Europe/Berlin", 2, a_price())
    with pytest.raises(VendorStateInvalid):
        await resources.create_resource(ports, owner, command, None)
    approved = a_vendor(owner, datetime.now(UTC))
    await stocked(ports, world.tenant_id, approved)
    command = replace(command, vendor_id=approved.vendor_id)
    key = a_key(owner, "k")
    made = await resources.create_resource(ports, owner, command, key)
    assert await resources.create_resource(ports, owner, command, key) == made
    assert await resources.get_resource(ports, Principal("anonymous", world.tenant_id, ""), made.resource_id) == made
    assert made.resource_id[-2:] == approved.vendor_id[-2:]  # the shard is inherited
    with pytest.raises(NotFound):
        await resources.create_resource(ports, a_person(world.tenant_id), command, None)
    overlapping = AppointmentRules(30, openings=(Opening(1, 0, 600), Opening(1, 540, 700)))
    backwards = AppointmentRules(30, buffer_minutes=7, openings=(Opening(1, 600, 600),))
    for wrong in (
        replace(command, time_zone="localtime"),
        replace(command, time_zone="../etc/passwd"),
        replace(command, price=a_price("-1.00")),
        replace(command, kind=Kind.APPOINTMENT, appointment=overlapping),
        replace(command, kind=Kind.APPOINTMENT, appointment=backwards),
    ):
        with pytest.raises(InvalidField):
            await resources.create_resource(ports, owner, wrong, None)


async def test_changing_a_resource(world: World, owner: Principal) -> None:
    ports = world.ports
    vendor = a_vendor(owner, datetime.now(UTC))
    room, doctor = a_stay(vendor, capacity=3), appointments(vendor)
    await stocked(ports, world.tenant_id, vendor, room, doctor)
    changed = await resources.update_resource(
        ports, owner, UpdateResource(room.resource_id, etag="v1", name="Suite", capacity=4), None
    )
    assert (changed.name, changed.capacity, changed.version, changed.price) == ("Suite", 4, 2, room.price)
    with pytest.raises(EtagMismatch):
        await resources.update_resource(ports, owner, UpdateResource(room.resource_id, etag="v1", name="x"), None)
    with pytest.raises(NotFound):
        await resources.update_resource(
            ports, a_person(world.tenant_id), UpdateResource(room.resource_id, name="x"), None
        )
    longer = AppointmentRules(60, openings=DAY_AND_NIGHT)
    with pytest.raises(UpdateMaskInvalid) as refused:
        await resources.update_resource(ports, owner, UpdateResource(doctor.resource_id, appointment=longer), None)
    assert refused.value.metadata == {"path": "appointment.slotMinutes"}
    for wrong in (
        UpdateResource(room.resource_id, price=a_price(currency="USD")),
        UpdateResource(room.resource_id, appointment=AppointmentRules(30)),
        UpdateResource(doctor.resource_id, stay=room.stay),
    ):
        with pytest.raises(InvalidField):
            await resources.update_resource(ports, owner, wrong, None)
    hours = AppointmentRules(30, max_slots=2, buffer_minutes=0, openings=(Opening(3, 540, 600),))
    changed = await resources.update_resource(ports, owner, UpdateResource(doctor.resource_id, appointment=hours), None)
    assert changed.appointment == hours


async def test_capacity_never_falls_below_what_is_in_use(world: World, owner: Principal) -> None:
    ports, person = world.ports, a_person(world.tenant_id)
    vendor = a_vendor(owner, datetime.now(UTC))
    room = a_stay(vendor, capacity=5)
    await stocked(ports, world.tenant_id, vendor, room)
    await holds.place_hold(ports, person, PlaceHold([nights(room, SOON, 2, 3)], ttl=timedelta(hours=1)), None)
    await holds.place_hold(ports, person, PlaceHold([nights(room, SOON, 1, 1)], ttl=timedelta(minutes=1)), None)
    with pytest.raises(CapacityInUse) as refused:
        await resources.update_resource(ports, owner, UpdateResource(room.resource_id, capacity=3), None)
    assert refused.value.metadata == {"inUse": "4"}
    world.age(timedelta(minutes=2))  # what time has ended is not in use
    await resources.update_resource(ports, owner, UpdateResource(room.resource_id, capacity=3), None)
    days = await availability.get_calendar(ports, person, room.resource_id, SOON, SOON + timedelta(3))
    assert [day.free for day in days] == [0, 0, 3]
    await resources.update_resource(ports, owner, UpdateResource(room.resource_id, capacity=6), None)
    await holds.place_hold(ports, person, PlaceHold([nights(room, SOON, 2, 3)]), None)


async def test_archiving(world: World, owner: Principal) -> None:
    ports = world.ports
    vendor = a_vendor(owner, datetime.now(UTC))
    room, other = a_stay(vendor), a_stay(vendor)
    await stocked(ports, world.tenant_id, vendor, room, other)
    with pytest.raises(EtagMismatch):
        await resources.archive_resource(ports, owner, room.resource_id, "v9", None)
    key = a_key(owner, "a")
    archived = await resources.archive_resource(ports, owner, room.resource_id, "v1", key)
    assert (archived.status, archived.version) == (ResourceStatus.ARCHIVED, 2)
    assert await resources.archive_resource(ports, owner, room.resource_id, "v1", key) == archived
    assert (await resources.archive_resource(ports, owner, room.resource_id, "v1", None)).version == 2
    shown = await resources.list_resources(ports, owner, vendor.vendor_id, "", 9)
    assert [found.resource_id for found in shown] == [other.resource_id]
    staff = a_person(world.tenant_id, vendor_ids=frozenset({vendor.vendor_id}))
    assert len(await resources.list_resources(ports, staff, vendor.vendor_id, "", 9)) == 2
    seen = await availability.check_availability(ports, owner, nights(room, SOON))
    assert [obstacle.code for obstacle in seen.obstacles] == [Code.ARCHIVED]


async def test_pages_follow_each_other(world: World, owner: Principal) -> None:
    vendor = a_vendor(owner, datetime.now(UTC))
    rooms = [a_stay(vendor) for _ in range(5)]
    await stocked(world.ports, world.tenant_id, vendor, *rooms)
    wanted = sorted((room.resource_id for room in rooms), reverse=True)
    found: list[str] = []
    while page := await resources.list_resources(world.ports, owner, "", found[-1] if found else "", 2):
        found += [room.resource_id for room in page]
    assert found == wanted


async def test_calendars_and_slots(world: World, owner: Principal) -> None:
    ports, person = world.ports, a_person(world.tenant_id)
    vendor = a_vendor(owner, datetime.now(UTC))
    rules = AppointmentRules(60, max_slots=2, buffer_minutes=30, openings=(Opening(SOON.isoweekday(), 540, 780),))
    doctor = appointments(vendor, rules, time_zone="UTC")
    room = a_stay(vendor)
    await stocked(ports, world.tenant_id, vendor, doctor, room)
    nine = datetime.combine(SOON, datetime.min.time(), UTC) + timedelta(hours=9)
    await holds.place_hold(ports, person, PlaceHold([slot(doctor, nine)]), None)
    found, states = await availability.list_slots(ports, person, doctor.resource_id, SOON)
    assert found.time_zone == "UTC"
    assert [(state.start - nine, state.free) for state in states] == [
        (timedelta(hours=0), 0),
        (timedelta(hours=1), 0),  # the buffer
        (timedelta(hours=2), 1),
        (timedelta(hours=3), 1),
    ]
    assert [obstacle.code for obstacle in states[1].obstacles] == [Code.SOLD_OUT]
    days = await availability.get_calendar(ports, person, doctor.resource_id, SOON - timedelta(1), SOON + timedelta(1))
    assert [(day.free, [obstacle.code for obstacle in day.obstacles]) for day in days] == [(0, [Code.CLOSED]), (2, [])]
    past = date.today() - timedelta(3)  # noqa: DTZ011 - three days ago everywhere
    assert (await availability.list_slots(ports, person, doctor.resource_id, past))[1] == []
    gone, *_ = await availability.get_calendar(ports, person, room.resource_id, past, SOON)
    assert [obstacle.code for obstacle in gone.obstacles] == [Code.IN_THE_PAST]
    full = await availability.check_availability(ports, person, slot(doctor, nine))
    assert (full.free, [obstacle.code for obstacle in full.obstacles]) == (0, [Code.SOLD_OUT])
    assert full.priced is not None
    with pytest.raises(InvalidField):
        await availability.get_calendar(ports, person, room.resource_id, SOON, SOON + timedelta(93))
    with pytest.raises(NotFound):
        await availability.get_calendar(ports, person, an_id("res"), SOON, SOON + timedelta(1))


async def test_sold_out_nights_are_named(world: World, owner: Principal) -> None:
    ports, person = world.ports, a_person(world.tenant_id)
    vendor = a_vendor(owner, datetime.now(UTC))
    room = a_stay(vendor, capacity=2)
    await stocked(ports, world.tenant_id, vendor, room)
    await holds.place_hold(ports, person, PlaceHold([nights(room, SOON + timedelta(1), 1, 2)]), None)
    seen = await availability.check_availability(ports, person, nights(room, SOON, 3))
    assert [(found.code, found.at) for found in seen.obstacles] == [(Code.SOLD_OUT, (SOON + timedelta(1)).isoformat())]
