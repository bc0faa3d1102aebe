"""What booking's database sees to by itself: legal transitions, an honest history, row security, its costs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import product

import psycopg
import pytest
from psycopg import errors

from services.booking.domain import TRANSITIONS, Booking, Charge, Guest, Item, Order, PaymentStatus, Status, Step
from services.booking.ports import Mandate, News, Ports, Stale, Times
from services.booking.store import METADATA, StoredBookings
from services.booking.usecases import CreateBooking, create_booking, hear_payment
from services.chassis.clock import FixedClock
from services.chassis.db import Database, counting
from services.chassis.db.migrate import drift
from services.chassis.errors import DependencyUnavailable
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.chassis.principal import Principal
from tests.databases import NewDatabase, Urls
from tests.ports.booking.fakes import PAYS, RESOURCE, START, TENANT, FakeInventory, FakePatience, FakePayments, OpenDoor
from tests.ports.booking.test_bookings import OTHER_TENANT, asked, key, sold

CUSTOMER = Principal("user", TENANT, new_id("usr", at=START, shard=3))
COMMAND = CreateBooking(Order(items=(Item(RESOURCE),)), Guest("Cara", "Customer", "c@example.org"), "credit_card", PAYS)
TENANT_TABLES = ("bookings", "booking_history", "outbox", "idempotency")


@pytest.fixture
def urls(new_database: NewDatabase) -> Urls:
    return new_database("booking")


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.app)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def bookings(database: Database, urls: Urls) -> AsyncIterator[StoredBookings]:
    worker_database = Database(urls.worker, pool_size=2)
    await worker_database.open()
    yield StoredBookings(database, worker_database)
    await worker_database.close()


def ports(bookings: StoredBookings) -> Ports:
    clock = FixedClock(START)
    return Ports(
        clock=clock,
        bookings=bookings,
        inventory=FakeInventory(clock),
        payments=FakePayments(clock),
        patience=FakePatience(),
        door=OpenDoor(),
        times=Times(timedelta(minutes=15)),
    )


def test_tables_and_database_agree(urls: Urls) -> None:
    assert drift(urls.owner, METADATA) == []


def test_the_database_allows_the_transitions_of_the_table_and_no_others(urls: Urls) -> None:
    statement = """
        INSERT INTO booking_history VALUES ('bkg_1', %s, 'ten_1', %s, %s, 'somebody', 'reason', now())
    """
    allowed = set()
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        for number, (before, after) in enumerate(product([None, *Status], Status)):
            try:
                connection.execute(statement, (number, before, after))
            except errors.CheckViolation:
                continue
            allowed.add((before, after))
    assert allowed == TRANSITIONS


async def test_an_illegal_transition_takes_its_change_with_it(bookings: StoredBookings, urls: Urls) -> None:
    booking = await sold(bookings)
    with psycopg.connect(urls.superuser) as connection, pytest.raises(errors.CheckViolation):
        connection.execute("UPDATE bookings SET status = 'PENDING' WHERE booking_id = %s", (booking.booking_id,))
    assert await bookings.get(TENANT, booking.booking_id) == booking


async def test_every_change_of_a_status_is_in_the_history_whoever_makes_it(
    bookings: StoredBookings, urls: Urls
) -> None:
    booking = asked()
    await bookings.add(booking, None)
    with psycopg.connect(urls.superuser) as connection:
        connection.execute(
            "UPDATE bookings SET status = 'CANCELLED', version = version + 1, status_actor = 'psql',"
            " status_reason = 'BY_HAND', step = 'DONE', run_time = NULL"
        )
    last = (await bookings.history(TENANT, booking.booking_id))[-1]
    assert (last.from_status, last.to_status, last.actor) == (Status.PENDING, Status.CANCELLED, "psql")


@pytest.mark.parametrize("statement", ["UPDATE booking_history SET actor = 'nobody'", "DELETE FROM booking_history"])
async def test_history_is_not_rewritten(bookings: StoredBookings, urls: Urls, statement: str) -> None:
    await bookings.add(asked(), None)
    with psycopg.connect(urls.superuser) as connection, pytest.raises(errors.RestrictViolation):
        connection.execute(statement)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("status = 'CONFIRMED', confirm_time = now()", "bookings_confirmed_is_paid"),
        ("status = 'CONFIRMED', confirm_time = now(), total_minor = 100", "bookings_confirmed_is_paid"),
        ("status = 'CONFIRMED', payment_status = 'SUCCEEDED', total_minor = 100", "bookings_confirmed_is_paid"),
        ("refund_minor = 1", "bookings_refund"),
        ("total_minor = 100, refund_minor = 101", "bookings_refund"),
        ("status = 'SOLD'", "bookings_status"),
        ("step = 'DONE'", "bookings_run"),
        ("run_time = NULL", "bookings_run"),
        ("status = 'EXPIRED', ending_status = 'EXPIRED'", "bookings_ended"),
        ("version = 0", "bookings_version"),
    ],
)
async def test_the_database_refuses_what_makes_no_sense(
    bookings: StoredBookings, urls: Urls, change: str, rule: str
) -> None:
    await bookings.add(asked(), None)
    with psycopg.connect(urls.superuser) as connection, pytest.raises(errors.CheckViolation) as refused:
        connection.execute(f"UPDATE bookings SET {change}")
    assert refused.value.diag.constraint_name == rule


async def test_without_a_tenant_nothing_is_seen(bookings: StoredBookings, urls: Urls) -> None:
    await bookings.add(asked(), key("a"))
    with psycopg.connect(urls.app, autocommit=True) as connection:
        for table in TENANT_TABLES:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    with psycopg.connect(urls.worker, autocommit=True) as connection:
        for table in TENANT_TABLES:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)


async def test_the_functions_write_for_the_tenant_that_they_name_only(bookings: StoredBookings) -> None:
    booking = await sold(bookings)
    foreign = replace(booking, tenant_id=OTHER_TENANT)
    with pytest.raises(Stale):
        await bookings.save(foreign, foreign.refunded(START))


async def test_two_that_draw_one_code_both_get_one(bookings: StoredBookings) -> None:
    first, second = asked(), asked()
    await bookings.add(first, None)
    await bookings.add(replace(second, confirmation_code=first.confirmation_code), None)
    stored = await bookings.get(TENANT, second.booking_id)
    assert stored is not None
    assert stored.confirmation_code != first.confirmation_code
    elsewhere = replace(asked(tenant_id=OTHER_TENANT), confirmation_code=first.confirmation_code)
    await bookings.add(elsewhere, None)
    there = await bookings.get(OTHER_TENANT, elsewhere.booking_id)
    assert there is not None
    assert there.confirmation_code == first.confirmation_code


async def test_a_paid_booking_costs_two_statements_and_three_calls(
    bookings: StoredBookings, database: Database
) -> None:
    around = ports(bookings)
    claimed = IdempotencyKey(TENANT, CUSTOMER.subject, "/create", "a", b"body")
    with counting(database) as counter:
        answer = await create_booking(around, CUSTOMER, COMMAND, claimed)
    assert answer.booking.status is Status.CONFIRMED
    called = [re.findall(r"(\w+)\(\$1", statement) for statement in counter.statements]
    assert called == [["create_booking"], ["save_booking"]]
    assert counter.round_trips == 2
    assert isinstance(around.inventory, FakeInventory)
    assert isinstance(around.payments, FakePayments)
    assert (around.inventory.calls, around.payments.calls) == (["place", "post"], ["start"])


async def test_each_transition_has_its_one_event(bookings: StoredBookings, urls: Urls) -> None:
    around = ports(bookings)
    booking: Booking = (await create_booking(around, CUSTOMER, COMMAND, None)).booking
    with psycopg.connect(urls.auditor) as auditor:
        events = auditor.execute("SELECT key, version, type, payload FROM outbox ORDER BY sequence").fetchall()
        history = auditor.execute("SELECT booking_id, version FROM booking_history ORDER BY version").fetchall()
    assert [row[:2] for row in events] == history == [(booking.booking_id, 1), (booking.booking_id, 2)]
    assert [row[2].rpartition(".")[2] for row in events] == ["BookingRequested", "BookingConfirmed"]
    for personal in (b"Cara", b"Customer", b"example.org"):
        assert all(personal not in row[3] for row in events)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT booking_id FROM bookings WHERE run_time <= now() ORDER BY run_time LIMIT 16", "bookings_run_time"),
        (
            "SELECT * FROM bookings WHERE tenant_id = 't' AND user_id = 'u' ORDER BY booking_id DESC LIMIT 20",
            "bookings_user",
        ),
        (
            "SELECT * FROM bookings WHERE tenant_id = 't' AND vendor_id = 'v' ORDER BY booking_id DESC LIMIT 20",
            "bookings_vendor",
        ),
    ],
)
def test_lists_and_the_worker_use_their_index(urls: Urls, statement: str, index: str) -> None:
    with psycopg.connect(urls.worker) as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(f"EXPLAIN {statement}").fetchall()
    assert any(index in line for (line,) in plan)


async def test_news_of_what_this_process_has_stored_cost_nothing(bookings: StoredBookings, database: Database) -> None:
    around = ports(bookings)
    booking = (await create_booking(around, CUSTOMER, COMMAND, None)).booking
    charge = Charge(booking.payment_id, PaymentStatus.SUCCEEDED, booking.payment_version)
    for version, looks in ((0, False), (1, True)):
        told = replace(charge, version=charge.version + version)
        with counting(database) as counter:
            await hear_payment(around, TENANT, booking.booking_id, told, News(f"evt_{version}", "t"))
        assert bool(counter.statements) == looks
    assert bookings.needs_no_news(booking.booking_id, charge.version + 1, START)
    assert not bookings.needs_no_news(booking.booking_id, charge.version + 2, START)
    assert not bookings.needs_no_news("bkg_of_another_process", 1, START)


class _TellsEarly(FakePayments):
    """Its events arrive before its answer, which then is lost."""

    def __init__(self, bookings: StoredBookings, database: Database) -> None:
        self.around = replace(ports(bookings), payments=self)
        super().__init__(self.around.clock)  # type: ignore[arg-type]  # it is the FixedClock that `ports` makes
        self._database = database
        self.looks: list[int] = []

    async def start(self, mandate: Mandate, vendor_id: str, amount: Money, token: str) -> Charge:
        charge = await super().start(mandate, vendor_id, amount, token)
        await self.tell(mandate.booking_id, charge)
        raise DependencyUnavailable

    async def tell(self, booking_id: str, charge: Charge) -> None:
        with counting(self._database) as counter:
            await hear_payment(self.around, TENANT, booking_id, charge, News(f"evt_{len(self.looks)}", "t"))
        self.looks.append(len(counter.statements))


async def test_news_while_payment_is_asked_cost_nothing(bookings: StoredBookings, database: Database) -> None:
    payments = _TellsEarly(bookings, database)
    booking = (await create_booking(payments.around, CUSTOMER, COMMAND, None)).booking
    assert (booking.step, payments.looks) == (Step.PAY, [0])
    # From here on the step may be anybody's, so what is stored is looked at.
    await payments.tell(booking.booking_id, Charge("pay_1", PaymentStatus.SUCCEEDED, 9))
    assert payments.looks == [0, 1]


async def test_a_lease_that_has_ended_vouches_for_nothing(bookings: StoredBookings) -> None:
    booking = asked()
    await bookings.add(booking, None)
    asking = await bookings.save(booking, replace(booking, step=Step.PAY, run_time=START + timedelta(seconds=15)))
    assert bookings.needs_no_news(asking.booking_id, 9, START + timedelta(seconds=14))
    assert not bookings.needs_no_news(asking.booking_id, 9, START + timedelta(seconds=15))
    with pytest.raises(Stale):
        await bookings.save(booking, replace(booking, step=Step.PAY))
    assert not bookings.needs_no_news(asking.booking_id, 9, START)
