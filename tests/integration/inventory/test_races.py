"""Many at once: winners equal capacity, whoever comes in whatever order, and nothing deadlocks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from services.inventory.domain.catalog import Resource
from services.inventory.domain.errors import HoldEnded, UnitsTaken
from services.inventory.domain.holds import Hold
from services.inventory.domain.items import Item
from services.inventory.usecases.holds import (
    PlaceBookingHold,
    PlaceHold,
    place_booking_hold,
    place_hold,
    post_hold,
    void_hold,
)
from tests.databases import Urls
from tests.ports.inventory.worlds import RealWorld
from tests.unit.inventory.builders import (
    a_key,
    a_person,
    a_stay,
    a_vendor,
    an_id,
    appointments,
    nights,
    slot,
    stocked,
    the_booking,
)

SOON = (datetime.now(UTC) + timedelta(days=30)).date()
TTL = timedelta(minutes=10)
P99_SECONDS = 1.0

Result = Hold | BaseException


@pytest.fixture
async def twins(world: RealWorld) -> AsyncIterator[list[RealWorld]]:
    """Two processes' worth of adapters on one database, so that only the database can put them in line."""
    other = RealWorld(world.urls)
    other.tenant_id = world.tenant_id
    await other.open()
    yield [world, other]
    await other.close()


async def _stock(world: RealWorld, *resources: Resource) -> None:
    vendor = a_vendor(a_person(world.tenant_id), datetime.now(UTC))
    owned = [replace(resource, vendor_id=vendor.vendor_id) for resource in resources]
    await stocked(world.ports, world.tenant_id, vendor, *owned)


def _room(capacity: int) -> Resource:
    return a_stay(a_vendor(a_person("")), capacity=capacity)


async def _race(worlds: Sequence[RealWorld], orders: Sequence[Sequence[Item]]) -> tuple[list[Result], list[float]]:
    took: list[float] = []

    async def one(number: int, items: Sequence[Item]) -> Hold:
        world = worlds[number % len(worlds)]
        begun = time.perf_counter()
        try:
            return await place_hold(world.ports, a_person(world.tenant_id), PlaceHold(items), None)
        finally:
            took.append(time.perf_counter() - begun)

    results = await asyncio.gather(*(one(*order) for order in enumerate(orders)), return_exceptions=True)
    return results, sorted(took)


def _winners(results: Sequence[Result]) -> list[Hold]:
    strange = [result for result in results if not isinstance(result, Hold | UnitsTaken)]
    assert strange == []
    return [result for result in results if isinstance(result, Hold)]


@pytest.mark.parametrize("capacity", [1, 7, 40])
async def test_winners_equal_capacity(twins: list[RealWorld], capacity: int) -> None:
    room = _room(capacity)
    await _stock(twins[0], room)
    results, took = await _race(twins, [[nights(room, SOON, 2)]] * 100)
    assert len(_winners(results)) == capacity
    p99 = took[98]
    print(f"\n100 clients, {capacity} units: {capacity} winners, p99 {p99 * 1000:.0f} ms (bound {P99_SECONDS} s)")  # noqa: T201 - a measure is reported where it is taken
    assert p99 <= P99_SECONDS


async def test_the_last_slot_has_one_winner(twins: list[RealWorld]) -> None:
    doctor = appointments(a_vendor(a_person("")))
    await _stock(twins[0], doctor)
    noon = datetime.combine(SOON, datetime.min.time(), UTC) + timedelta(hours=12)
    orders = [[slot(doctor, noon + timedelta(minutes=30 * (number % 2)))] for number in range(100)]
    results, _ = await _race(twins, orders)
    assert len(_winners(results)) == 1


async def test_two_resources_in_crossed_order(twins: list[RealWorld]) -> None:
    one, two = _room(5), _room(5)
    await _stock(twins[0], one, two)
    first, second = nights(one, SOON), nights(two, SOON)
    results, _ = await _race(twins, [[first, second], [second, first]] * 50)
    assert len(_winners(results)) == 5


async def test_random_overlaps_leave_no_room_for_a_loser(twins: list[RealWorld]) -> None:
    drawn = random.Random(4)
    rooms = [_room(3), _room(2)]
    await _stock(twins[0], *rooms)
    orders = [
        [
            nights(room, SOON + timedelta(days=drawn.randrange(12)), drawn.randint(1, 4), drawn.randint(1, 2))
            for room in drawn.sample(rooms, drawn.randint(1, 2))
        ]
        for _ in range(150)
    ]
    results, _ = await _race(twins, orders)
    _winners(results)
    again, _ = await _race(
        twins[:1], [order for order, result in zip(orders, results, strict=True) if not isinstance(result, Hold)]
    )
    # Had a refusal come while its units were free, they would be free still.
    assert _winners(again) == []


async def test_one_key_fifty_times_is_one_hold(twins: list[RealWorld]) -> None:
    room = _room(60)
    await _stock(twins[0], room)
    person = a_person(twins[0].tenant_id)
    key = a_key(person, "k")
    order = PlaceHold([nights(room, SOON)])
    found = await asyncio.gather(*(place_hold(twins[n % 2].ports, person, order, key) for n in range(50)))
    assert len({hold.hold_id for hold in found}) == 1
    booking = the_booking(twins[0].tenant_id)
    step = PlaceBookingHold(an_id("bkg"), "book", person.subject, TTL, [nights(room, SOON)])
    found = await asyncio.gather(*(place_booking_hold(twins[n % 2].ports, booking, step) for n in range(50)))
    assert len({hold.hold_id for hold in found}) == 1


async def test_one_key_for_two_orders_is_one_hold_and_one_refusal(twins: list[RealWorld]) -> None:
    """Nothing puts orders for different resources in line but the key itself."""
    rooms = [_room(100), _room(100)]
    await _stock(twins[0], *rooms)
    person = a_person(twins[0].tenant_id)

    async def pair(number: int) -> None:
        orders = (
            place_hold(
                twins[side].ports, person, PlaceHold([nights(rooms[side], SOON)]), a_key(person, f"{number}", f"{side}")
            )
            for side in (0, 1)
        )
        results = await asyncio.gather(*orders, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Hold", "IdempotencyKeyReused"]

    await asyncio.gather(*(pair(number) for number in range(40)))
    results, _ = await _race(twins, [[nights(room, SOON)] for room in rooms for _ in range(100)])
    assert len(_winners(results)) == 200 - 40


async def test_a_void_races_its_placing(twins: list[RealWorld]) -> None:
    room = _room(100)
    await _stock(twins[0], room)
    booking = the_booking(twins[0].tenant_id)

    async def pair(number: int) -> None:
        step = PlaceBookingHold(an_id("bkg"), "book", an_id("usr"), TTL, [nights(room, SOON)])
        place = place_booking_hold(twins[number % 2].ports, booking, step)
        void = void_hold(twins[1 - number % 2].ports, booking, step.booking_id, "book")
        placed, voided = await asyncio.gather(place, void, return_exceptions=True)
        assert voided is None
        assert isinstance(placed, Hold | HoldEnded)
        with pytest.raises(HoldEnded):
            await post_hold(twins[0].ports, booking, step.booking_id, "book")

    await asyncio.gather(*(pair(number) for number in range(50)))
    results, _ = await _race(twins, [[nights(room, SOON, 1, 100)]])
    assert len(_winners(results)) == 1


async def test_time_races_posting(twins: list[RealWorld]) -> None:
    """A hold ends while it is posted and its unit is wanted: it is sold, or somebody else's, never both."""
    rooms = [_room(1) for _ in range(60)]
    await _stock(twins[0], *rooms)
    booking = the_booking(twins[0].tenant_id)
    ttl = timedelta(milliseconds=300)

    async def contest(room: Resource, milliseconds: int) -> tuple[bool, bool]:
        step = PlaceBookingHold(an_id("bkg"), "book", an_id("usr"), ttl, [nights(room, SOON)])
        held = await place_booking_hold(twins[0].ports, booking, step)
        at = held.expire_time + timedelta(milliseconds=milliseconds)
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
        posted, other = await asyncio.gather(
            post_hold(twins[0].ports, booking, step.booking_id, "book"),
            place_hold(twins[1].ports, a_person(twins[1].tenant_id), PlaceHold([nights(room, SOON)]), None),
            return_exceptions=True,
        )
        return isinstance(posted, Hold), isinstance(other, Hold)

    outcomes = await asyncio.gather(*(contest(room, number - 30) for number, room in enumerate(rooms)))
    assert (True, True) not in outcomes


async def test_psql_alone_cannot_oversell(new_database: Callable[[str], Urls], world: RealWorld) -> None:
    room = _room(2)
    await _stock(world, room)
    held = await place_hold(world.ports, a_person(world.tenant_id), PlaceHold([nights(room, SOON, 2)]), None)
    claim = (
        "INSERT INTO claims SELECT hold_id, 99, tenant_id, resource_id, first_cell, last_cell, %s, true, expire_time,"
        " finish_time FROM claims WHERE hold_id = %s"
    )
    attempts: list[tuple[str, tuple[object, ...]]] = [
        (claim, (2, held.hold_id)),
        ("UPDATE cells SET used = 3", ()),
        ("UPDATE cells SET used = -1", ()),
        ("UPDATE claims SET quantity = 2", ()),
        ("DELETE FROM claims", ()),
    ]
    with psycopg.connect(world.urls.superuser, autocommit=True) as connection:
        for statement, parameters in attempts:
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute(statement, parameters)
        connection.execute(claim, (1, held.hold_id))
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE resources SET capacity = 1")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "UPDATE holds SET status = 'VOIDED', update_time = clock_timestamp();"
                " UPDATE holds SET status = 'HELD', update_time = clock_timestamp()"
            )
        connection.execute("UPDATE claims SET live = false WHERE position = 99")
        assert connection.execute("SELECT DISTINCT used, capacity FROM cells").fetchall() == [(1, 2)]
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE claims SET live = true")
