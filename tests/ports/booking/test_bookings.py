"""What every store of bookings promises: the fake's and PostgreSQL's behaviour is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from services.booking.domain import (
    Booking,
    Charge,
    Ending,
    Failure,
    Guest,
    Item,
    Order,
    PaymentStatus,
    RefundStatus,
    Status,
    Step,
    new_booking,
)
from services.booking.ports import Bookings, News, Repeated, Stale, Window
from services.booking.store import StoredBookings
from services.chassis.db import Database
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from tests.databases import NewDatabase
from tests.ports.booking.fakes import PRICE, RESOURCE, START, TENANT, VENDOR, FakeBookings, priced

USER = new_id("usr", at=START, shard=3)
OTHER_TENANT = new_id("ten", at=START, shard=2)
LEASE = START + timedelta(seconds=15)
STAY = Item(RESOURCE, "2030-02-06", "2030-02-08", quantity=2)


@pytest.fixture(params=["fake", "postgres"])
async def bookings(request: pytest.FixtureRequest) -> AsyncIterator[Bookings]:
    if request.param == "fake":
        yield FakeBookings()
        return
    new_database: NewDatabase = request.getfixturevalue("new_database")
    urls = new_database("booking")
    database, worker_database = Database(urls.app), Database(urls.worker, pool_size=2)
    await database.open()
    await worker_database.open()
    yield StoredBookings(database, worker_database)
    await database.close()
    await worker_database.close()


def asked(*, order: Order | None = None, tenant_id: str = TENANT, user_id: str = USER) -> Booking:
    return new_booking(
        tenant_id=tenant_id,
        user_id=user_id,
        order=order or Order(items=(STAY,)),
        guest=Guest("Cära", "O'Customer", "cara@example.org", "+49401234567"),
        payment_method="credit_card",
        payment_token="pm_card_visa",
        now=START,
        payment_window=timedelta(minutes=15),
        lease=LEASE,
    )


def key(name: str, body: bytes = b"body", *, tenant_id: str = TENANT, principal: str = USER) -> IdempotencyKey:
    return IdempotencyKey(tenant_id, principal, "/create", name, body)


def held(booking: Booking) -> Booking:
    return booking.held((priced(STAY),), PRICE, START, LEASE)


async def sold(bookings: Bookings) -> Booking:
    booking = asked()
    await bookings.add(booking, None)
    booking = await bookings.save(booking, held(booking))
    paid = booking.heard(Charge("pay_1", PaymentStatus.SUCCEEDED, 3), START)
    return await bookings.save(booking, paid.confirmed(START))


async def found(bookings: Bookings, booking: Booking) -> Booking:
    row = await bookings.get(booking.tenant_id, booking.booking_id)
    assert row is not None
    return row


@pytest.mark.parametrize(
    "order",
    [
        Order(items=(STAY,)),
        Order(items=(Item(RESOURCE, start_time=START, end_time=START + timedelta(minutes=30)), STAY)),
        Order(quote_id=new_id("quo", at=START)),
        Order(hold_id=new_id("hld", at=START)),
    ],
)
async def test_what_is_added_is_found_as_it_was(bookings: Bookings, order: Order) -> None:
    booking = asked(order=order)
    assert await bookings.add(booking, None) == booking.booking_id
    assert await found(bookings, booking) == booking


async def test_another_tenant_finds_nothing(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    assert await bookings.get(OTHER_TENANT, booking.booking_id) is None
    assert await bookings.history(OTHER_TENANT, booking.booking_id) == ()
    assert (await bookings.of_user(OTHER_TENANT, USER, None, Window(10))).total == 0


async def test_the_same_key_leads_to_the_first_booking(bookings: Bookings) -> None:
    first, second = asked(), asked()
    assert await bookings.add(first, key("a")) == first.booking_id
    assert await bookings.add(second, key("a")) == first.booking_id
    assert await bookings.get(TENANT, second.booking_id) is None
    assert await bookings.first_use(key("a")) == first.booking_id
    assert await bookings.first_use(key("b")) is None
    with pytest.raises(IdempotencyKeyReused):
        await bookings.add(asked(), key("a", b"another body"))
    with pytest.raises(IdempotencyKeyReused):
        await bookings.first_use(key("a", b"another body"))
    other = asked()
    assert await bookings.add(other, key("a", principal="somebody else")) == other.booking_id


async def test_fifty_calls_with_one_key_make_one_booking(bookings: Bookings) -> None:
    ids = await asyncio.gather(*(bookings.add(asked(), key("a")) for _ in range(50)))
    assert len(set(ids)) == 1
    assert (await bookings.of_user(TENANT, USER, None, Window(10))).total == 1


async def test_every_change_comes_back(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    for change in (
        held,
        lambda now: replace(now, payment_error="card_declined", payment_version=2, payment_id="pay_1"),
        lambda now: now.heard(Charge("pay_1", PaymentStatus.REQUIRES_ACTION, 3), START).after_payment(START, LEASE),
        lambda now: now.expiring(START, LEASE),
        lambda now: now.heard(Charge("pay_1", PaymentStatus.CANCELLED, 4), START).after_payment(START, LEASE),
        lambda now: now.released(START, LEASE),
    ):
        after = change(booking)
        booking = await bookings.save(booking, after)
        assert booking == replace(after, version=booking.version)
        assert await found(bookings, booking) == booking
    assert (booking.status, booking.version) == (Status.EXPIRED, 7)


async def test_a_cancellation_and_its_refund_come_back(bookings: Bookings) -> None:
    booking = await sold(bookings)
    ending = Ending(Status.CANCELLED, USER, "CANCELLED_BY_CUSTOMER")
    booking = await bookings.save(booking, booking.cancelled(ending, "Plans; changed", PRICE, START, LEASE))
    assert await found(bookings, booking) == booking
    assert (booking.refund, booking.refund_status, booking.step) == (PRICE, RefundStatus.PENDING, Step.RELEASE)
    history = await bookings.history(TENANT, booking.booking_id)
    assert [(change.from_status, change.to_status) for change in history] == [
        (None, Status.PENDING),
        (Status.PENDING, Status.CONFIRMED),
        (Status.CONFIRMED, Status.CANCELLED),
    ]
    assert (history[-1].actor, history[-1].reason, history[-1].time) == (USER, "CANCELLED_BY_CUSTOMER", START)


async def test_a_stale_change_is_refused_and_changes_nothing(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    newer = await bookings.save(booking, held(booking))
    for taken in ({}, {"key": key("a")}, {"news": News("evt_1", "t")}):
        with pytest.raises(Stale):
            await bookings.save(booking, booking.expiring(START, LEASE), **taken)
    assert await found(bookings, booking) == newer
    assert await bookings.first_use(key("a")) is None
    await bookings.save(newer, newer.due(LEASE), key=key("a"), news=News("evt_1", "t"))


async def test_of_many_changes_of_one_version_one_wins(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    changes = [bookings.save(booking, held(booking), news=News(f"evt_{number}", "t")) for number in range(20)]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert sum(isinstance(outcome, Booking) for outcome in outcomes) == 1
    assert all(isinstance(outcome, Booking | Stale) for outcome in outcomes)
    assert (await found(bookings, booking)).version == 2


async def test_news_and_keys_are_taken_once(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    booking = await bookings.save(booking, held(booking), news=News("evt_1", "t"))
    with pytest.raises(Repeated):
        await bookings.save(booking, booking.expiring(START, LEASE), news=News("evt_1", "t"))
    booking = await bookings.save(booking, booking.due(LEASE), key=key("a"))
    with pytest.raises(Repeated):
        await bookings.save(booking, booking.due(LEASE), key=key("a"))
    assert await found(bookings, booking) == booking


async def test_a_failed_booking_leaves_its_key_free(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, key("a"))
    failure = Failure("SLOT_TAKEN", {"resourceId": RESOURCE, "available": "0"})
    booking = await bookings.save(booking, booking.failed(failure, START))
    assert (await found(bookings, booking)).failure == failure
    again = asked()
    assert await bookings.add(again, key("a", b"even another body")) == again.booking_id
    undone = await bookings.save(again, again.undoing(Failure("X"), START, LEASE, step=Step.RELEASE))
    assert await bookings.first_use(key("a")) is None
    third = asked()
    await bookings.add(third, key("a"))
    await bookings.save(undone, undone.released(START, LEASE))
    assert await bookings.first_use(key("a")) == third.booking_id


async def test_what_is_due_is_taken_once_and_comes_back_after_its_lease(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    assert await bookings.take_due(START, LEASE, 10) == []
    later = LEASE + timedelta(seconds=15)
    taken = await asyncio.gather(*(bookings.take_due(LEASE, later, 10) for _ in range(8)))
    assert [row.booking_id for rows in taken for row in rows] == [booking.booking_id]
    (row,) = (row for rows in taken for row in rows)
    assert (row.run_time, row.attempts, row.version) == (later, 1, 1)
    # Taking is no change: who works on it can still store what it found.
    await bookings.save(booking, held(booking))
    assert (await found(bookings, booking)).run_time == LEASE
    assert [row.attempts for row in await bookings.take_due(LEASE, later, 10)] == [1]


async def test_a_booking_that_stands_still_can_be_taken_over(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    later = LEASE + timedelta(seconds=15)
    assert await bookings.take_over(booking, START, later) is None
    taken = await asyncio.gather(*(bookings.take_over(booking, LEASE, later) for _ in range(8)))
    assert [row.run_time for row in taken if row is not None] == [later]


async def test_postponing_sets_when_it_is_looked_at_unless_it_changed(bookings: Bookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    soon = START + timedelta(seconds=1)
    await bookings.postpone(booking, soon)
    assert (await found(bookings, booking)).run_time == soon
    await bookings.save(booking, held(booking))
    await bookings.postpone(booking, soon)
    assert (await found(bookings, booking)).run_time == LEASE


async def test_what_has_ended_is_never_due(bookings: Bookings) -> None:
    booking = await sold(bookings)
    assert booking.run_time is None
    assert await bookings.take_due(START + timedelta(days=9), LEASE, 10) == []


async def test_lists_are_walked_newest_first(bookings: Bookings) -> None:
    ids: list[str] = []
    for number in range(5):
        booking = replace(asked(), booking_id=new_id("bkg", at=START + timedelta(seconds=number), shard=7))
        await bookings.add(booking, None)
        ids.insert(0, booking.booking_id)
    await bookings.add(asked(user_id=new_id("usr", at=START)), None)
    whole = await bookings.of_user(TENANT, USER, None, Window(10))
    assert ([row.booking_id for row in whole.bookings], whole.total, whole.more) == (ids, 5, False)
    second = await bookings.of_user(TENANT, USER, None, Window(2, skip=2))
    assert ([row.booking_id for row in second.bookings], second.total, second.more) == (ids[2:4], 5, True)
    rest = await bookings.of_user(TENANT, USER, None, Window(3, after=ids[1]))
    assert ([row.booking_id for row in rest.bookings], rest.total, rest.more) == (ids[2:], 5, False)


async def test_lists_by_vendor_and_status(bookings: Bookings) -> None:
    confirmed = await sold(bookings)
    pending = asked()
    await bookings.add(pending, None)
    await bookings.save(pending, held(pending))
    assert (await bookings.of_vendor(TENANT, VENDOR, None, Window(10))).total == 2
    listed = await bookings.of_vendor(TENANT, VENDOR, Status.CONFIRMED, Window(10))
    assert [row.booking_id for row in listed.bookings] == [confirmed.booking_id]
    assert (await bookings.of_user(TENANT, USER, Status.EXPIRED, Window(10))).total == 0
