"""Reading: who sees which booking, and how much of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.booking.ports import Window
from services.booking.usecases import (
    booking_history,
    cancellation_quote,
    describe_booking,
    get_booking,
    user_bookings,
    vendor_bookings,
)
from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.ports.booking.fakes import PAYS, START, TENANT, VENDOR, new_world
from tests.unit.booking.acting import CUSTOMER, book

STAFF = Principal(
    "user",
    TENANT,
    new_id("usr", at=START),
    permissions=frozenset({"bookings.manage"}),
    vendor_ids=frozenset({VENDOR}),
)
ADMIN = Principal("user", TENANT, new_id("usr", at=START), permissions=frozenset({"bookings.read_all"}))
STRANGER = Principal("user", TENANT, new_id("usr", at=START))
ALL = Window(10)


async def test_its_person_its_vendor_and_an_administrator_see_a_booking() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    shown = {caller: await get_booking(world.ports, caller, booking_id) for caller in (CUSTOMER, STAFF, ADMIN)}
    assert [view.shows_guest for view in shown.values()] == [True, True, False]


async def test_to_everybody_else_it_is_not_there() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    foreign = replace(CUSTOMER, tenant_id=new_id("ten", at=START))
    colleague = replace(STAFF, vendor_ids=frozenset({new_id("vnd", at=START)}))
    service = replace(CUSTOMER, kind="service")
    missing = new_id("bkg", at=START)
    with pytest.raises(NotFound) as unknown:
        await get_booking(world.ports, CUSTOMER, missing)
    for caller in (STRANGER, foreign, colleague, service, replace(STAFF, permissions=frozenset())):
        for read in (get_booking, booking_history, cancellation_quote):
            with pytest.raises(NotFound) as refused:
                await read(world.ports, caller, booking_id)
            assert (refused.value.message, refused.value.metadata) == (unknown.value.message, unknown.value.metadata)


async def test_a_booking_without_a_vendor_yet_is_no_vendors() -> None:
    world = new_world()
    world.inventory.trouble["place"] = DependencyUnavailable("planted")
    with pytest.raises(DependencyUnavailable):
        await book(world, PAYS)
    (booking_id,) = world.bookings.rows
    nameless = replace(STAFF, vendor_ids=frozenset({""}))
    with pytest.raises(NotFound):
        await get_booking(world.ports, nameless, booking_id)


async def test_only_the_payer_gets_the_client_secret_and_only_while_there_is_something_to_pay() -> None:
    world = new_world()
    booking_id = (await book(world, "")).booking.booking_id
    assert (await get_booking(world.ports, CUSTOMER, booking_id)).client_secret
    assert not (await get_booking(world.ports, STAFF, booking_id)).client_secret
    world.payments.trouble["get"] = DependencyUnavailable("planted")
    assert not (await get_booking(world.ports, CUSTOMER, booking_id)).client_secret
    paid = (await book(world, PAYS)).booking.booking_id
    assert not (await get_booking(world.ports, CUSTOMER, paid)).client_secret


async def test_lists_are_for_their_person_and_their_vendor() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    for caller, user_id in ((CUSTOMER, "me"), (CUSTOMER, CUSTOMER.subject), (ADMIN, CUSTOMER.subject)):
        views, listed = await user_bookings(world.ports, caller, user_id, None, ALL)
        assert ([view.booking.booking_id for view in views], listed.total) == ([booking_id], 1)
    assert (await user_bookings(world.ports, STRANGER, "me", None, ALL))[1].total == 0
    with pytest.raises(NotFound):
        await user_bookings(world.ports, STAFF, CUSTOMER.subject, None, ALL)
    for caller in (STAFF, ADMIN):
        assert (await vendor_bookings(world.ports, caller, VENDOR, None, ALL))[1].total == 1
    for caller in (CUSTOMER, replace(STAFF, vendor_ids=frozenset())):
        with pytest.raises(NotFound):
            await vendor_bookings(world.ports, caller, VENDOR, None, ALL)


async def test_a_service_reads_without_the_guest() -> None:
    world = new_world()
    booking_id = (await book(world, PAYS)).booking.booking_id
    service = Principal("service", TENANT, "notification")
    view = await describe_booking(world.ports, service, booking_id)
    assert (view.booking.booking_id, view.shows_guest, view.client_secret) == (booking_id, False, "")
    with pytest.raises(NotFound):
        await describe_booking(world.ports, replace(service, tenant_id=new_id("ten", at=START)), booking_id)
