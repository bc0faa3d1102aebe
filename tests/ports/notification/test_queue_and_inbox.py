"""The delivery log and the inbox: one behaviour, in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from services.chassis.db import Database, counting
from services.chassis.db.migrate import drift
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.notification.domain import Delivery, Intake, Kind, Notification, Source, Status, Subject
from services.notification.ports import Deliveries, Inbox
from services.notification.store import METADATA, DeliveryRows, InboxRows
from tests.databases import NewDatabase, Urls
from tests.ports.notification.fakes import AT, BOOKING, TENANT, USER, FakeDeliveries, FakeInbox

OTHER_USER = "usr_01jvc0000000000000000000vb"
OTHER_TENANT = "ten_other"
READ = "/berth.notification.v1.NotificationService/ReadNotification"


@dataclass
class Store:
    deliveries: Deliveries
    inbox: Inbox


@pytest.fixture
def urls(new_database: NewDatabase) -> Urls:
    return new_database("notification")


@pytest.fixture
async def databases(urls: Urls) -> AsyncIterator[tuple[Database, Database]]:
    pair = Database(urls.app), Database(urls.worker)
    for database in pair:
        await database.open()
    yield pair
    for database in pair:
        await database.close()


@pytest.fixture(params=["fake", "real"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "fake":
        return Store(FakeDeliveries(), FakeInbox())
    app, worker = request.getfixturevalue("databases")
    return Store(DeliveryRows(app, worker), InboxRows(app))


def delivery(
    event_id: str = "evt_1",
    *,
    user_id: str = USER,
    tenant_id: str = TENANT,
    at: datetime = AT,
    kind: Kind | None = None,
) -> Delivery:
    kind = kind or Kind.BOOKING_CANCELLED
    subject = Subject(kind, BOOKING, "", Money("EUR", 1250), AT + timedelta(hours=1))
    return Delivery(new_id("dlv", at=at), tenant_id, event_id, user_id, subject, Status.QUEUED, 0, at)


def source(event_id: str = "evt_1", *, version: int = 1, key: str = BOOKING) -> Source:
    return Source(event_id, "berth.booking.events.v1.BookingCancelled", "berth.booking.v1", key, version)


async def test_what_is_queued_is_taken_as_it_was(store: Store) -> None:
    queued = delivery()
    assert await store.deliveries.queue(queued, source(), AT) is Intake.QUEUED
    (taken,) = await store.deliveries.take(AT, AT + timedelta(seconds=45), 10)
    assert taken == replace(queued, attempts=1)


async def test_an_event_is_queued_once_however_often_it_comes(store: Store) -> None:
    intakes = await asyncio.gather(*(store.deliveries.queue(delivery(), source(), AT) for _ in range(10)))
    assert sorted(intakes) == [Intake.QUEUED, *[Intake.REPEATED] * 9]
    assert len(await store.deliveries.take(AT, AT, 20)) == 1


async def test_older_versions_of_a_key_are_stale_and_other_keys_are_not(store: Store) -> None:
    assert await store.deliveries.queue(delivery("evt_3"), source("evt_3", version=3), AT) is Intake.QUEUED
    assert await store.deliveries.queue(delivery("evt_2"), source("evt_2", version=2), AT) is Intake.STALE
    assert await store.deliveries.queue(delivery("evt_2"), source("evt_2", version=2), AT) is Intake.REPEATED
    other = source("evt_4", version=1, key="bkg_other")
    assert await store.deliveries.queue(delivery("evt_4"), other, AT) is Intake.QUEUED


async def test_what_is_in_hand_is_given_to_nobody_else_until_its_lease_ends(store: Store) -> None:
    for number in range(6):
        await store.deliveries.queue(delivery(f"evt_{number}"), source(f"evt_{number}", key=f"k{number}"), AT)
    lease = AT + timedelta(seconds=45)
    batches = await asyncio.gather(*(store.deliveries.take(AT, lease, 2) for _ in range(4)))
    ids = [row.delivery_id for batch in batches for row in batch]
    assert len(ids) == len(set(ids)) == 6
    assert await store.deliveries.take(lease - timedelta(seconds=1), lease, 10) == []
    assert len(await store.deliveries.take(lease, lease, 10)) == 6


async def test_the_urgent_go_first_then_the_oldest(store: Store) -> None:
    for number, kind in enumerate((Kind.BOOKING_CONFIRMED, Kind.BOOKING_CONFIRMED, Kind.VERIFY_EMAIL)):
        at = AT + timedelta(seconds=number)
        queued = delivery(f"evt_{number}", kind=kind, at=at)
        await store.deliveries.queue(queued, source(f"evt_{number}", key=f"k{number}"), at)
    order = []
    for _ in range(3):
        (taken,) = await store.deliveries.take(AT + timedelta(minutes=1), AT + timedelta(minutes=2), 1)
        order.append(taken.event_id)
    assert order == ["evt_2", "evt_0", "evt_1"]


async def test_a_postponed_one_waits_and_says_why(store: Store) -> None:
    await store.deliveries.queue(delivery(), source(), AT)
    (taken,) = await store.deliveries.take(AT, AT, 1)
    await store.deliveries.postpone(taken, AT + timedelta(seconds=30), "DEPENDENCY_UNAVAILABLE")
    assert await store.deliveries.take(AT + timedelta(seconds=29), AT, 1) == []
    (again,) = await store.deliveries.take(AT + timedelta(seconds=30), AT, 1)
    assert (again.attempts, again.last_error) == (2, "DEPENDENCY_UNAVAILABLE")


@pytest.mark.parametrize("status", [Status.SENT, Status.FAILED, Status.DROPPED])
async def test_what_has_ended_stays_ended(store: Store, status: Status) -> None:
    await store.deliveries.queue(delivery(), source(), AT)
    (taken,) = await store.deliveries.take(AT, AT, 1)
    await store.deliveries.settle(taken, status, AT, "why")
    await store.deliveries.settle(taken, Status.FAILED, AT, "later")
    await store.deliveries.postpone(taken, AT, "later")
    assert await store.deliveries.take(AT + timedelta(days=1), AT, 10) == []
    (row,) = await store.deliveries.page(TENANT, "", 10, None)
    assert (row.status, row.last_error) == (status, "why")
    assert row.sent_time == (AT if status is Status.SENT else None)


async def test_pages_of_deliveries_are_the_tenants_newest_first(store: Store) -> None:
    for number in range(5):
        tenant_id = OTHER_TENANT if number == 2 else TENANT
        at = AT + timedelta(seconds=number)
        await store.deliveries.queue(
            delivery(f"evt_{number}", tenant_id=tenant_id, at=at), source(f"evt_{number}", key=f"k{number}"), at
        )
    first = await store.deliveries.page(TENANT, "", 2, None)
    rest = await store.deliveries.page(TENANT, first[-1].delivery_id, 10, None)
    assert [row.event_id for row in (*first, *rest)] == ["evt_4", "evt_3", "evt_1", "evt_0"]
    assert len(await store.deliveries.page(OTHER_TENANT, "", 10, Status.QUEUED)) == 1
    assert await store.deliveries.page(TENANT, "", 10, Status.SENT) == []


def notification(event_id: str, *, user_id: str = USER, at: datetime = AT, tenant_id: str = TENANT) -> Notification:
    notification_id = new_id("ntf", at=at)
    return Notification(
        notification_id, tenant_id, user_id, event_id, Kind.BOOKING_CONFIRMED, "Title", "Body", BOOKING, at
    )


async def test_a_message_is_in_an_inbox_once(store: Store) -> None:
    first = notification("evt_1")
    await store.inbox.add(first)
    await store.inbox.add(notification("evt_1"))
    assert await store.inbox.page(TENANT, USER, "", 10, unread=False) == [first]


async def test_inboxes_are_their_persons(store: Store) -> None:
    rows = [notification(f"evt_{number}", at=AT + timedelta(seconds=number)) for number in range(4)]
    for row in rows:
        await store.inbox.add(row)
    await store.inbox.add(notification("evt_0", user_id=OTHER_USER))
    await store.inbox.add(notification("evt_9", tenant_id=OTHER_TENANT))
    page = await store.inbox.page(TENANT, USER, "", 3, unread=False)
    assert [row.event_id for row in page] == ["evt_3", "evt_2", "evt_1"]
    page = await store.inbox.page(TENANT, USER, page[-1].notification_id, 3, unread=False)
    assert [row.event_id for row in page] == ["evt_0"]
    assert await store.inbox.read(TENANT, OTHER_USER, rows[0].notification_id, AT, None) is None
    assert await store.inbox.read(OTHER_TENANT, USER, rows[0].notification_id, AT, None) is None
    assert await store.inbox.read(TENANT, USER, "ntf_none", AT, None) is None


async def test_reading_again_keeps_the_first_time(store: Store) -> None:
    row = notification("evt_1")
    await store.inbox.add(row)
    key = IdempotencyKey(TENANT, USER, READ, "key", b"hash")
    for _ in range(2):
        assert await store.inbox.read(TENANT, USER, row.notification_id, AT, key) == replace(row, read_time=AT)
    later = await store.inbox.read(TENANT, USER, row.notification_id, AT + timedelta(hours=1), None)
    assert later == replace(row, read_time=AT)
    assert await store.inbox.page(TENANT, USER, "", 10, unread=True) == []
    with pytest.raises(IdempotencyKeyReused):
        await store.inbox.read(TENANT, USER, row.notification_id, AT, replace(key, request_hash=b"other"))


def test_the_tables_are_what_the_migrations_make(urls: Urls) -> None:
    assert drift(urls.owner, METADATA) == []


async def test_each_step_of_the_queue_is_one_round_trip(databases: tuple[Database, Database]) -> None:
    app, worker = databases
    rows = DeliveryRows(app, worker)
    with counting(app) as intake:
        await rows.queue(delivery(), source(), AT)
    with counting(worker) as work:
        (taken,) = await rows.take(AT, AT, 1)
        await rows.settle(taken, Status.SENT, AT)
    assert (intake.round_trips, work.round_trips) == (1, 2)


async def test_row_security_keeps_tenants_apart(databases: tuple[Database, Database]) -> None:
    app, worker = databases
    await DeliveryRows(app, worker).queue(delivery(), source(), AT)
    await InboxRows(app).add(notification("evt_1"))
    for table in ("deliveries", "notifications"):
        assert await app.fetch_all(f"SELECT * FROM {table}") == []
        assert len(await worker.fetch_all(f"SELECT * FROM {table}")) == 1


async def test_taking_uses_the_index_of_what_is_due(databases: tuple[Database, Database]) -> None:
    _, worker = databases
    await worker.execute(
        "INSERT INTO deliveries SELECT 'dlv_' || n, 't', 'evt_' || n, 'u', 'email', 'booking_confirmed', false, '', '',"
        " NULL, NULL, NULL, CASE WHEN n % 50 = 0 THEN 'QUEUED' ELSE 'SENT' END, 1, '', now(), now(),"
        " CASE WHEN n % 50 = 0 THEN NULL ELSE now() END FROM generate_series(1, 20000) AS n"
    )
    plan = await worker.fetch_all(
        "EXPLAIN SELECT delivery_id FROM deliveries WHERE status = 'QUEUED' AND next_try_time <= now()"
        " ORDER BY urgent DESC, next_try_time LIMIT 8 FOR UPDATE SKIP LOCKED"
    )
    assert "deliveries_due" in "\n".join(row[0] for row in plan)
