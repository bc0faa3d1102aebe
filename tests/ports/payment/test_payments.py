"""One behaviour of stored payments, on the fake and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from services.chassis.db import Database
from services.chassis.db.counting import counting
from services.chassis.db.migrate import drift
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.payment.domain.payments import (
    Change,
    Payment,
    ProviderIntent,
    ProviderRefund,
    RefundStatus,
    Status,
    ask_refund,
    begin_again,
    follow,
    follow_refund,
)
from services.payment.ports import Payments
from services.payment.store.payments import StoredPayments
from services.payment.store.tables import METADATA
from tests.databases import NewDatabase, Urls
from tests.ports.payment.fakes import TENANT, USER, VENDOR, FakePayments, booking_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OTHER_TENANT = TENANT[:-2] + "11"


@pytest.fixture(scope="module")
def urls(new_database: NewDatabase) -> Urls:
    return new_database("payment")


@pytest.fixture(params=["fake", "postgres"])
async def payments(request: pytest.FixtureRequest) -> AsyncIterator[Payments]:
    if request.param == "fake":
        yield FakePayments()
        return
    database = Database(request.getfixturevalue("urls").app, pool_size=4)
    await database.open()
    yield StoredPayments(database)
    await database.close()


def new_payment(booking: str | None = None, step: str = "book", at: datetime = NOW) -> Payment:
    return Payment(
        payment_id=new_id("pay", at=at),
        tenant_id=TENANT,
        booking_id=booking or booking_id(),
        step=step,
        user_id=USER,
        vendor_id=VENDOR,
        amount=Money("EUR", 15000),
        manual_capture=False,
        status=Status.PROCESSING,
        captured=Money.zero("EUR"),
        create_time=at,
        update_time=at,
        attempt_time=at,
    )


def success(payment: Payment) -> Change:
    intent = ProviderIntent(
        f"pi_{payment.payment_id}",
        Status.SUCCEEDED,
        payment.amount,
        Money.zero("EUR"),
        fee=Money("EUR", 465),
        charge_id="ch_1",
    )
    change = follow(payment, intent, NOW + timedelta(seconds=1))
    assert change is not None
    return change


async def test_a_step_has_one_payment(payments: Payments) -> None:
    first = new_payment()
    assert await payments.start(first) == first
    assert await payments.start(replace(new_payment(first.booking_id), user_id=USER)) == first
    second = await payments.start(new_payment(first.booking_id, "change-1", NOW + timedelta(seconds=1)))
    assert await payments.of_booking(TENANT, first.booking_id) == [first, second]
    assert await payments.get(TENANT, first.payment_id) == first


async def test_fifty_at_once_start_one(payments: Payments) -> None:
    booking = booking_id()
    started = await asyncio.gather(*(payments.start(new_payment(booking)) for _ in range(50)))
    assert len({payment.payment_id for payment in started}) == 1


async def test_tenants_are_apart(payments: Payments) -> None:
    payment = await payments.start(new_payment())
    assert await payments.get(OTHER_TENANT, payment.payment_id) is None
    assert await payments.of_booking(OTHER_TENANT, payment.booking_id) == []


async def test_a_change_is_stored_whole_and_once(payments: Payments) -> None:
    payment = await payments.start(new_payment())
    change = success(payment)
    assert await payments.save(change) == (True, False)
    assert await payments.save(change) == (False, False), "the version has moved on"
    assert await payments.get(TENANT, payment.payment_id) == change.payment


async def test_of_two_that_change_the_same_version_one_wins(payments: Payments) -> None:
    payment = await payments.start(new_payment())
    changes = [begin_again(payment, NOW + timedelta(seconds=second)) for second in range(1, 9)]
    saved = await asyncio.gather(*(payments.save(change) for change in changes))
    assert sorted(one.stored for one in saved) == [False] * 7 + [True]


async def test_refunds_come_back_as_they_were_stored(payments: Payments) -> None:
    payment = await payments.start(new_payment())
    paid = success(payment)
    await payments.save(paid)
    asked = ask_refund(paid.payment, new_id("rfd", at=NOW), "cancel", Money("EUR", 10000), "cancelled", NOW)
    await payments.save(asked)
    given = ProviderRefund(f"re_{payment.payment_id}", RefundStatus.SUCCEEDED, Money("EUR", 10000))
    done = follow_refund(asked.payment, asked.refunds[0], given, NOW + timedelta(seconds=5))
    assert done is not None
    await payments.save(done)
    stored = await payments.get(TENANT, payment.payment_id)
    assert stored == done.payment
    assert await payments.start(new_payment(payment.booking_id)) == stored


async def test_a_cancelled_booking_starts_nothing(payments: Payments) -> None:
    booking = booking_id()
    assert await payments.cancel_booking(TENANT, booking, NOW) == []
    late = await payments.start(new_payment(booking))
    assert late.status is Status.CANCELLED


async def test_a_booking_that_goes_on_starts_payments_again(payments: Payments) -> None:
    booking = booking_id()
    await payments.cancel_booking(TENANT, booking, NOW)
    await payments.reopen_booking(TENANT, booking)
    assert (await payments.start(new_payment(booking))).status is Status.PROCESSING


async def test_a_cancellation_is_seen_by_those_under_way(payments: Payments) -> None:
    payment = await payments.start(new_payment())
    found = await payments.cancel_booking(TENANT, payment.booking_id, NOW)
    assert [one.cancel_wanted for one in found] == [True]
    assert await payments.save(success(payment)) == (True, True)


async def test_a_refund_key_stands_for_one_refund(payments: Payments) -> None:
    key = IdempotencyKey(TENANT, "usr_1", "/CreateRefund", new_id("key", at=NOW), b"1")
    assert await payments.refund_claim(key, "rfd_1", NOW) == "rfd_1"
    assert await payments.refund_claim(key, "rfd_2", NOW) == "rfd_1"
    with pytest.raises(IdempotencyKeyReused):
        await payments.refund_claim(replace(key, request_hash=b"2"), "rfd_3", NOW)


def test_the_database_is_what_the_tables_say(urls: Urls) -> None:
    assert drift(urls.owner, METADATA) == []


async def test_what_a_change_leaves_in_the_database(urls: Urls) -> None:
    database = Database(urls.app)
    await database.open()
    woken: list[int] = []
    payments = StoredPayments(database, wake=lambda: woken.append(1), traceparent=lambda: "00-trace")
    payment = await payments.start(new_payment())
    await payments.save(success(payment))
    await database.close()
    with psycopg.connect(urls.auditor) as auditor:
        lines = auditor.execute(
            "SELECT j.kind, a.kind, a.vendor_id, p.amount_minor FROM journal_entries j JOIN postings p USING (entry_id)"
            " JOIN accounts a USING (account_id) WHERE payment_id = %s ORDER BY 1, 2",
            (payment.payment_id,),
        ).fetchall()
        events = auditor.execute(
            "SELECT type, topic, key, version, traceparent FROM outbox WHERE key = %s", (payment.booking_id,)
        ).fetchall()
    assert lines == [
        ("CAPTURE", "PROVIDER_CLEARING", "", 15000),
        ("CAPTURE", "VENDOR_PAYABLE", VENDOR, -15000),
        ("FEE", "PROVIDER_CLEARING", "", -465),
        ("FEE", "PROVIDER_FEES", "", 465),
    ]
    assert events == [
        ("berth.payment.events.v1.PaymentSucceeded", "berth.payment.v1", payment.booking_id, 1, "00-trace")
    ]
    assert woken == [1]


async def test_one_statement_starts_and_one_saves(urls: Urls) -> None:
    database = Database(urls.app)
    await database.open()
    payments = StoredPayments(database)
    with counting(database) as count:
        payment = await payments.start(new_payment())
        await payments.save(success(payment))
    await database.close()
    assert (len(count.statements), count.round_trips) == (2, 2)
