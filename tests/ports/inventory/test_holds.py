"""Holds behave the same in memory and in PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import pytest

from services.chassis.errors import IdempotencyKeyReused, NotFound
from services.chassis.principal import Principal
from services.inventory.domain.catalog import Resource
from services.inventory.domain.errors import (
    ExtensionTooLong,
    HoldEnded,
    NotBookable,
    QuoteInvalid,
    UnitsTaken,
)
from services.inventory.domain.holds import HoldStatus, Quote
from services.inventory.domain.items import Item
from services.inventory.usecases import holds, resources
from services.inventory.usecases.availability import check_availability
from services.inventory.usecases.holds import PlaceBookingHold, PlaceHold
from services.inventory.usecases.resources import UpdateResource
from tests.ports.inventory.worlds import World
from tests.unit.inventory.builders import (
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
    the_booking,
)

MINUTE = timedelta(minutes=1)
SOON = (datetime.now(UTC) + timedelta(days=30)).date()


@dataclass
class Shop:
    """A world with something to sell, somebody who buys, and the booking service."""

    world: World
    room: Resource  # two of them
    doctor: Resource
    person: Principal
    booking: Principal
    owner: Principal

    async def hold(self, *items: Item, ttl: timedelta = 10 * MINUTE) -> str:
        """A hold of the person."""
        return (await holds.place_hold(self.world.ports, self.person, PlaceHold(items, ttl=ttl), None)).hold_id

    def order(self, booking_id: str, *items: Item, step: str = "book") -> PlaceBookingHold:
        """A booking's order for the person."""
        return PlaceBookingHold(booking_id, step, self.person.subject, 10 * MINUTE, items)

    async def free(self, day: date = SOON) -> int:
        """Rooms that are free on a day."""
        return (await check_availability(self.world.ports, self.person, nights(self.room, day))).free


@pytest.fixture
async def shop(world: World) -> Shop:
    """A shop with two rooms and a doctor."""
    owner = a_person(world.tenant_id)
    vendor = a_vendor(owner, datetime.now(UTC))
    room, doctor = a_stay(vendor, capacity=2), appointments(vendor)
    await stocked(world.ports, world.tenant_id, vendor, room, doctor)
    return Shop(world, room, doctor, a_person(world.tenant_id), the_booking(world.tenant_id), owner)


async def test_units_are_kept_until_all_are_taken(shop: Shop) -> None:
    await shop.hold(nights(shop.room, SOON, 3))
    await shop.hold(nights(shop.room, SOON + timedelta(days=2), 3))
    assert [await shop.free(SOON + timedelta(days=day)) for day in range(6)] == [1, 1, 0, 1, 1, 2]
    with pytest.raises(UnitsTaken) as refused:
        await shop.hold(nights(shop.room, SOON, 3))
    assert refused.value.metadata == {"available": "0", "resourceId": shop.room.resource_id}
    await shop.hold(nights(shop.room, SOON, 2))


async def test_all_items_or_none(shop: Shop) -> None:
    noon = datetime.combine(SOON, datetime.min.time(), UTC) + timedelta(hours=12)
    await shop.hold(slot(shop.doctor, noon))
    with pytest.raises(UnitsTaken):
        await shop.hold(nights(shop.room, SOON), slot(shop.doctor, noon))
    assert await shop.free() == 2
    with pytest.raises(UnitsTaken):  # the same resource twice counts twice
        await shop.hold(nights(shop.room, SOON, 2, 2), nights(shop.room, SOON, 1, 1))
    assert await shop.free() == 2


async def test_a_buffer_stays_free_after_an_appointment(shop: Shop) -> None:
    noon = datetime.combine(SOON, datetime.min.time(), UTC) + timedelta(hours=12)
    await shop.hold(slot(shop.doctor, noon))
    for minutes in (-30, 0, 30):
        with pytest.raises(UnitsTaken):
            await shop.hold(slot(shop.doctor, noon + minutes * MINUTE))
    await shop.hold(slot(shop.doctor, noon + 60 * MINUTE))
    await shop.hold(slot(shop.doctor, noon - 60 * MINUTE))


async def test_time_ends_a_hold_and_nothing_revives_it(shop: Shop) -> None:
    await holds.place_booking_hold(shop.world.ports, shop.booking, shop.order(an_id("bkg"), nights(shop.room, SOON)))
    booking_id = an_id("bkg")
    await holds.place_booking_hold(shop.world.ports, shop.booking, shop.order(booking_id, nights(shop.room, SOON)))
    held = await shop.hold(nights(shop.room, SOON + timedelta(days=9)))
    shop.world.age(11 * MINUTE)
    assert await shop.free() == 2
    with pytest.raises(HoldEnded) as refused:
        await holds.post_hold(shop.world.ports, shop.booking, booking_id, "book")
    assert refused.value.metadata == {"status": "EXPIRED"}
    with pytest.raises(HoldEnded):
        await holds.extend_hold(shop.world.ports, shop.person, held, MINUTE, None)
    with pytest.raises(HoldEnded):
        await holds.place_booking_hold(shop.world.ports, shop.booking, shop.order(booking_id, nights(shop.room, SOON)))
    assert (await holds.get_hold(shop.world.ports, shop.person, held)).status is HoldStatus.EXPIRED
    released = await holds.release_hold(shop.world.ports, shop.person, held, None)
    assert released.status is HoldStatus.EXPIRED
    await holds.void_hold(shop.world.ports, shop.booking, booking_id, "book")
    # Without any sweeper, both rooms can be had again.
    await shop.hold(nights(shop.room, SOON, 1, 2))


async def test_the_sweeper_marks_what_ended(shop: Shop) -> None:
    noon = datetime.combine(SOON, datetime.min.time(), UTC) + timedelta(hours=12)
    ended = await shop.hold(nights(shop.room, SOON), slot(shop.doctor, noon), ttl=MINUTE)
    await shop.hold(nights(shop.room, SOON), ttl=20 * MINUTE)
    shop.world.age(2 * MINUTE)
    assert await shop.world.ports.holds.sweep(100) == 1
    assert await shop.world.ports.holds.sweep(100) == 0
    assert (await holds.get_hold(shop.world.ports, shop.person, ended)).status is HoldStatus.EXPIRED


async def test_a_bookings_step_gets_one_hold(shop: Shop) -> None:
    order = shop.order(an_id("bkg"), nights(shop.room, SOON))
    first = await holds.place_booking_hold(shop.world.ports, shop.booking, order)
    again = await holds.place_booking_hold(shop.world.ports, shop.booking, order)
    assert (again.hold_id, again.expire_time, again.items) == (first.hold_id, first.expire_time, first.items)
    assert await shop.free() == 1
    other = await holds.place_booking_hold(shop.world.ports, shop.booking, replace(order, step="change"))
    assert other.hold_id != first.hold_id
    posted = await holds.post_hold(shop.world.ports, shop.booking, order.booking_id, "book")
    assert posted.status is HoldStatus.POSTED
    after = await holds.place_booking_hold(shop.world.ports, shop.booking, order)
    assert after.status is HoldStatus.POSTED


async def test_posting_voiding_and_cancelling(shop: Shop) -> None:
    ports, booking_id = shop.world.ports, an_id("bkg")
    await holds.place_booking_hold(ports, shop.booking, shop.order(booking_id, nights(shop.room, SOON)))
    with pytest.raises(HoldEnded) as held:
        await holds.cancel_posted_hold(ports, shop.booking, booking_id, "book")
    assert held.value.metadata == {"status": "HELD"}
    for _ in range(2):
        assert (await holds.post_hold(ports, shop.booking, booking_id, "book")).status is HoldStatus.POSTED
    shop.world.age(timedelta(days=1))
    assert await shop.free() == 1  # what is sold has no end
    with pytest.raises(HoldEnded) as sold:
        await holds.void_hold(ports, shop.booking, booking_id, "book")
    assert sold.value.metadata == {"status": "POSTED"}
    for _ in range(2):
        cancelled = await holds.cancel_posted_hold(ports, shop.booking, booking_id, "book")
        assert cancelled.status is HoldStatus.CANCELLED
    assert await shop.free() == 2
    with pytest.raises(HoldEnded):
        await holds.post_hold(ports, shop.booking, booking_id, "book")
    for act in (holds.post_hold, holds.cancel_posted_hold):
        with pytest.raises(NotFound):
            await act(ports, shop.booking, booking_id, "never")


async def test_a_void_that_comes_first_is_remembered(shop: Shop) -> None:
    ports, booking_id = shop.world.ports, an_id("bkg")
    for _ in range(2):
        await holds.void_hold(ports, shop.booking, booking_id, "book")
    with pytest.raises(HoldEnded) as refused:
        await holds.place_booking_hold(ports, shop.booking, shop.order(booking_id, nights(shop.room, SOON)))
    assert refused.value.metadata == {"status": "VOIDED"}
    mine = await shop.hold(nights(shop.room, SOON))
    with pytest.raises(HoldEnded):
        await holds.place_booking_hold(ports, shop.booking, replace(shop.order(booking_id), items=(), hold_id=mine))
    assert await shop.free() == 1


async def test_a_persons_hold_is_taken_over_without_being_free(shop: Shop) -> None:
    ports, booking_id = shop.world.ports, an_id("bkg")
    mine = await shop.hold(nights(shop.room, SOON, 1, 2))
    order = replace(shop.order(booking_id), items=(), hold_id=mine)
    with pytest.raises(NotFound):
        await holds.place_booking_hold(ports, shop.booking, replace(order, user_id=an_id("usr")))
    shop.world.age(5 * MINUTE)
    for _ in range(2):
        taken = await holds.place_booking_hold(ports, shop.booking, order)
        assert (taken.hold_id, taken.booking_id, taken.status) == (mine, booking_id, HoldStatus.HELD)
    shop.world.age(8 * MINUTE)  # beyond its first end, within the booking's
    assert await shop.free() == 0
    for act in (
        holds.release_hold(ports, shop.person, mine, None),
        holds.extend_hold(ports, shop.person, mine, MINUTE, None),
        holds.place_booking_hold(ports, shop.booking, replace(order, booking_id=an_id("bkg"))),
    ):
        with pytest.raises(HoldEnded):
            await act
    assert (await holds.post_hold(ports, shop.booking, booking_id, "book")).hold_id == mine


async def test_extending_and_releasing(shop: Shop) -> None:
    ports = shop.world.ports
    held = await shop.hold(nights(shop.room, SOON), ttl=5 * MINUTE)
    shop.world.age(4 * MINUTE)
    longer = await holds.extend_hold(ports, shop.person, held, 20 * MINUTE, None)
    assert longer.expire_time - longer.create_time > 23 * MINUTE
    unchanged = await holds.extend_hold(ports, shop.person, held, MINUTE, None)
    assert unchanged.expire_time == longer.expire_time
    shop.world.age(15 * MINUTE)
    await holds.extend_hold(ports, shop.person, held, 30 * MINUTE, None)
    shop.world.age(20 * MINUTE)
    with pytest.raises(ExtensionTooLong) as refused:
        await holds.extend_hold(ports, shop.person, held, 30 * MINUTE, None)
    assert set(refused.value.metadata) == {"latestExpireTime"}
    stranger = a_person(shop.world.tenant_id)
    for act in (
        holds.extend_hold(ports, stranger, held, MINUTE, None),
        holds.release_hold(ports, stranger, held, None),
        holds.get_hold(ports, stranger, held),
        holds.get_hold(ports, a_person(an_id("ten")), held),
    ):
        with pytest.raises(NotFound):
            await act
    for _ in range(2):
        assert (await holds.release_hold(ports, shop.person, held, None)).status is HoldStatus.RELEASED
    assert await shop.free() == 2


async def test_a_key_gets_one_hold_and_one_answer(shop: Shop) -> None:
    ports, key = shop.world.ports, a_key(shop.person, "k1", "body")
    order = PlaceHold([nights(shop.room, SOON)])
    first = await holds.place_hold(ports, shop.person, order, key)
    await holds.extend_hold(ports, shop.person, first.hold_id, 20 * MINUTE, None)
    again = await holds.place_hold(ports, shop.person, order, key)
    assert (again.hold_id, again.status, again.total) == (first.hold_id, HoldStatus.HELD, first.total)
    assert again.expire_time - again.create_time == 10 * MINUTE
    with pytest.raises(IdempotencyKeyReused):
        await holds.place_hold(ports, shop.person, order, a_key(shop.person, "k1", "another"))
    assert await shop.free() == 1
    other = await holds.place_hold(ports, shop.person, order, a_key(a_person(shop.world.tenant_id), "k1", "body"))
    assert other.hold_id != first.hold_id


async def test_a_refusal_saves_no_key(shop: Shop) -> None:
    ports, key = shop.world.ports, a_key(shop.person, "k1")
    mine = await shop.hold(nights(shop.room, SOON, 1, 2))
    with pytest.raises(UnitsTaken):
        await holds.place_hold(ports, shop.person, PlaceHold([nights(shop.room, SOON)]), key)
    await holds.release_hold(ports, shop.person, mine, None)
    await holds.place_hold(ports, shop.person, PlaceHold([nights(shop.room, SOON)]), key)


async def test_changes_with_a_key_answer_the_same(shop: Shop) -> None:
    ports = shop.world.ports
    held = await shop.hold(nights(shop.room, SOON))
    extend, release = a_key(shop.person, "e", method="/e"), a_key(shop.person, "r", method="/r")
    longer = await holds.extend_hold(ports, shop.person, held, 15 * MINUTE, extend)
    released = await holds.release_hold(ports, shop.person, held, release)
    again = await holds.extend_hold(ports, shop.person, held, 15 * MINUTE, extend)
    assert (again.status, again.expire_time) == (longer.status, longer.expire_time)
    assert (await holds.release_hold(ports, shop.person, held, release)).status is released.status
    with pytest.raises(IdempotencyKeyReused):
        await holds.release_hold(ports, shop.person, held, a_key(shop.person, "r", "other", method="/r"))


async def test_a_quote_fixes_prices_but_keeps_nothing(shop: Shop) -> None:
    ports = shop.world.ports
    quote = await holds.create_quote(ports, shop.person, [nights(shop.room, SOON, 2)], None)
    assert quote.total.amount == "200.00"
    dearer = UpdateResource(shop.room.resource_id, price=a_price("500.00"))
    await resources.update_resource(ports, shop.owner, dearer, None)
    assert await shop.free() == 2
    with pytest.raises(QuoteInvalid):
        await holds.place_hold(ports, a_person(shop.world.tenant_id), PlaceHold(quote_id=quote.quote_id), None)
    held = await holds.place_hold(ports, shop.person, PlaceHold(quote_id=quote.quote_id), None)
    assert held.total == quote.total
    now = await holds.place_hold(ports, shop.person, PlaceHold([nights(shop.room, SOON, 2)]), None)
    assert now.total.amount == "1000.00"
    with pytest.raises(QuoteInvalid):
        await holds.place_hold(ports, shop.person, PlaceHold(quote_id=an_id("quo")), None)


async def test_a_quote_ends(shop: Shop) -> None:
    ports = shop.world.ports
    quote = await holds.create_quote(ports, shop.person, [nights(shop.room, SOON)], None)
    old = Quote(an_id("quo"), quote.user_id, quote.items, quote.create_time, quote.create_time - timedelta(seconds=1))
    async with ports.catalog.begin(shop.world.tenant_id) as work:
        await work.add_quote(old)
    with pytest.raises(QuoteInvalid):
        await holds.place_hold(ports, shop.person, PlaceHold(quote_id=old.quote_id), None)


async def test_a_quotes_key_answers_the_same_quote(shop: Shop) -> None:
    ports, key = shop.world.ports, a_key(shop.person, "q")
    first = await holds.create_quote(ports, shop.person, [nights(shop.room, SOON)], key)
    assert await holds.create_quote(ports, shop.person, [nights(shop.room, SOON)], key) == first


async def test_what_is_archived_takes_no_more(shop: Shop) -> None:
    ports, key = shop.world.ports, a_key(shop.person, "k")
    order = PlaceHold([nights(shop.room, SOON)])
    first = await holds.place_hold(ports, shop.person, order, key)
    await resources.archive_resource(ports, shop.owner, shop.room.resource_id, "", None)
    with pytest.raises(NotBookable) as refused:
        await holds.place_hold(ports, shop.person, order, None)
    assert refused.value.metadata == {"refusals": "ARCHIVED", "resourceId": shop.room.resource_id}
    # What was answered before it was archived is answered still.
    assert (await holds.place_hold(ports, shop.person, order, key)).hold_id == first.hold_id


async def test_unknown_and_foreign_resources_are_the_same(shop: Shop) -> None:
    stranger = a_person(an_id("ten"))
    for caller, resource_id in ((shop.person, an_id("res")), (stranger, shop.room.resource_id)):
        item = replace(nights(shop.room, SOON), resource_id=resource_id)
        with pytest.raises(NotFound) as refused:
            await holds.place_hold(shop.world.ports, caller, PlaceHold([item]), None)
        assert refused.value.metadata == {"resource": "resource"}
