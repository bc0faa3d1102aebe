"""What waits in the database for the workers: provider events, and payments to check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from services.chassis.db import Database, counting
from services.chassis.ids import new_id
from services.payment.domain.payments import Payment
from services.payment.ports import DuePayment, ProviderEvent, WaitingEvent
from services.payment.store.payments import StoredPayments
from services.payment.store.standing import GRACE, KEEP, StoredDuties, StoredProviderEvents, purge_events
from tests.databases import NewDatabase, Urls
from tests.ports.payment.fakes import TENANT
from tests.ports.payment.test_payments import new_payment, success

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Stored:
    """The adapters over a fresh database."""

    urls: Urls
    payments: StoredPayments
    events: StoredProviderEvents
    duties: StoredDuties
    worker: Database

    def state(self, event_id: str) -> str:
        with psycopg.connect(self.urls.auditor) as auditor:
            row = auditor.execute("SELECT state FROM provider_events WHERE event_id = %s", (event_id,)).fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture
async def stored(new_database: NewDatabase) -> AsyncIterator[Stored]:
    urls = new_database("payment")
    app, worker = Database(urls.app), Database(urls.worker)
    await app.open()
    await worker.open()
    yield Stored(urls, StoredPayments(app), StoredProviderEvents(worker), StoredDuties(worker), worker)
    await app.close()
    await worker.close()


def event_about(payment: Payment, *, intent: str = "", kind: str = "payment_intent.succeeded") -> ProviderEvent:
    intent_id = intent or payment.provider_intent_id or ""
    return ProviderEvent(new_id("evt", at=NOW), kind, intent_id, intent_id, payment.payment_id, NOW)


async def test_an_event_is_kept_once(stored: Stored) -> None:
    payment = success(await stored.payments.start(new_payment())).payment
    event = event_about(payment)
    assert await stored.events.keep(event, NOW, relevant=True) == NOW + GRACE, "it is given time: a payment is made"
    assert await stored.events.keep(event, NOW, relevant=True) is None
    other = event_about(payment, kind="martian.landed")
    assert await stored.events.keep(other, NOW, relevant=False) is None
    assert stored.state(other.event_id) == "KEPT"


async def test_an_event_of_a_payment_in_the_making_waits_for_it_and_is_then_moot(stored: Stored) -> None:
    payment = await stored.payments.start(new_payment())
    change = success(payment)
    early = event_about(change.payment)
    await stored.events.keep(early, NOW, relevant=True)
    assert await stored.events.lease(NOW, 10) == []
    expected = [WaitingEvent(early.event_id, early.type, TENANT, payment.payment_id)]
    assert await stored.events.lease(NOW + GRACE, 10) == expected
    await stored.payments.save(change)
    late = event_about(change.payment)
    assert await stored.events.keep(late, NOW, relevant=True) is None
    assert stored.state(late.event_id) == "APPLIED", "the payment says so already"


async def test_an_event_that_waited_and_says_nothing_new_is_settled_unasked(stored: Stored) -> None:
    payment = await stored.payments.start(new_payment())
    change = success(payment)
    said, unsaid = event_about(change.payment), event_about(change.payment, intent="pi_another")
    for event in (said, unsaid):
        await stored.events.keep(event, NOW, relevant=True)
    await stored.payments.save(change)
    assert [one.event_id for one in await stored.events.lease(NOW + GRACE, 10)] == [unsaid.event_id]
    assert (stored.state(said.event_id), stored.state(unsaid.event_id)) == ("APPLIED", "WAITING")


async def test_events_that_come_together_are_each_kept_once(stored: Stored) -> None:
    payment = success(await stored.payments.start(new_payment())).payment
    events = [event_about(payment) for _ in range(5)]
    with counting(stored.worker) as counter:
        kept = await asyncio.gather(
            *(stored.events.keep(event, NOW, relevant=True) for event in (*events, events[0], events[0]))
        )
    assert kept == [NOW + GRACE] * 5 + [None] * 2
    assert len(counter.statements) == 3  # an event never stands twice in one statement


async def test_a_leased_event_comes_again_later_until_it_is_settled(stored: Stored) -> None:
    payment = await stored.payments.start(new_payment(at=NOW - timedelta(hours=1)))
    event = event_about(payment, intent="pi_1")
    await stored.events.keep(event, NOW, relevant=True)
    assert len(await stored.events.lease(NOW, 10)) == 1
    assert await stored.events.lease(NOW, 10) == []
    assert len(await stored.events.lease(NOW + timedelta(seconds=5), 10)) == 1
    await stored.events.settle([event.event_id], NOW)
    assert await stored.events.lease(NOW + timedelta(days=1), 10) == []
    assert stored.state(event.event_id) == "APPLIED"


async def test_an_event_finds_its_payment_by_the_intent(stored: Stored) -> None:
    change = success(await stored.payments.start(new_payment()))
    await stored.payments.save(change)
    event = event_about(change.payment, kind="refund.updated")._replace(payment_id="")
    await stored.events.keep(event, NOW, relevant=True)
    (waiting,) = await stored.events.lease(NOW, 10)
    assert (waiting.tenant_id, waiting.payment_id) == (TENANT, change.payment.payment_id)
    stranger = event._replace(event_id="evt_2", intent_id="pi_of_somebody_else")
    assert await stored.events.keep(stranger, NOW, relevant=True) == NOW
    assert [one.payment_id for one in await stored.events.lease(NOW, 10)] == [""]


async def test_a_payment_is_due_until_nothing_is_left_to_ask(stored: Stored) -> None:
    payment = await stored.payments.start(new_payment())
    assert await stored.duties.lease(NOW, 10) == []
    pauses = [5, 5, 10, 20]
    at = NOW
    for pause in pauses:
        at += timedelta(seconds=pause)
        assert await stored.duties.lease(at, 10) == [DuePayment(TENANT, payment.payment_id)]
        assert await stored.duties.lease(at, 10) == [], "leased: the next check is further off"
    await stored.payments.save(success(payment))
    assert await stored.duties.lease(NOW + timedelta(days=30), 10) == []


async def test_a_cancelled_booking_makes_its_open_payments_due(stored: Stored) -> None:
    payment = await stored.payments.start(new_payment())
    await stored.payments.cancel_booking(TENANT, payment.booking_id, NOW + timedelta(minutes=5))
    assert len(await stored.duties.lease(NOW + timedelta(minutes=5, seconds=5), 10)) == 1


async def test_old_events_are_forgotten_unless_they_still_wait(stored: Stored) -> None:
    payment = success(await stored.payments.start(new_payment())).payment
    waiting, kept = event_about(payment, kind="refund.updated"), event_about(payment, kind="martian.landed")
    await stored.events.keep(waiting, NOW, relevant=True)
    await stored.events.keep(kept, NOW, relevant=False)
    async with stored.worker.system() as connection:
        assert await purge_events(connection, NOW + KEEP) == 1
    assert stored.state(waiting.event_id) == "WAITING"


async def test_the_workers_queries_use_their_indexes(stored: Stored) -> None:
    with psycopg.connect(stored.urls.worker) as worker:
        worker.execute("SET enable_seqscan = off")
        for query, index in (
            ("SELECT payment_id FROM payments WHERE check_time <= now()", "payments_check_time"),
            (
                "SELECT event_id FROM provider_events WHERE state = 'WAITING' AND due_time <= now()",
                "provider_events_waiting",
            ),
        ):
            plan = "\n".join(row[0] for row in worker.execute(f"EXPLAIN {query}".encode()))
            assert index in plan


async def test_keeping_an_event_reads_its_payment_and_no_other(stored: Stored) -> None:
    payment = success(await stored.payments.start(new_payment())).payment
    with psycopg.connect(stored.urls.superuser, autocommit=True) as superuser:
        superuser.execute(
            "INSERT INTO booking_payments (booking_id, tenant_id)"
            " SELECT 'bkg_' || n, %s FROM generate_series(1, 3000) n",
            (TENANT,),
        )
        superuser.execute(
            "INSERT INTO payments (payment_id, tenant_id, booking_id, step, user_id, vendor_id, currency, amount_minor,"
            " manual_capture, status, attempt_time, create_time, update_time, version)"
            " SELECT 'pay_' || n, %s, 'bkg_' || n, 'book', 'usr_1', 'vnd_1', 'EUR', 1, false, 'PROCESSING', now(),"
            " now(), now(), 1 FROM generate_series(1, 3000) n",
            (TENANT,),
        )
    before = await read_of_payments(stored)
    for _ in range(3):
        await stored.events.keep(event_about(payment), NOW, relevant=True)
    assert 3 <= await read_of_payments(stored) - before <= 6


async def read_of_payments(stored: Stored) -> int:
    # The worker's pool lends the one connection that it has made.
    await stored.worker.execute("SELECT pg_stat_force_next_flush()")
    await stored.worker.execute("SELECT 1")
    with psycopg.connect(stored.urls.superuser) as superuser:
        row = superuser.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'payments'"
        ).fetchone()
    assert row is not None
    return int(row[0])
