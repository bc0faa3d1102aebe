"""Owns an honest little world for the auditor: one booking, paid, confirmed and told, in real databases."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
from psycopg.rows import dict_row

from scripts.audit.findings import Reading
from scripts.audit.invariants import INVARIANTS
from scripts.audit.sources import Charge, Row, Sources, open_databases
from tests.databases import NewDatabase, Urls

SERVICES = ("auth", "inventory", "booking", "payment", "notification")

_HONEST = {
    "inventory": """
        INSERT INTO vendors (vendor_id, tenant_id, display_name, status, owner_user_id, version, create_time,
            update_time)
        VALUES ('vnd', 'ten', 'v', 'APPROVED', 'usr', 1, now(), now());
        INSERT INTO resources (resource_id, tenant_id, vendor_id, name, description, kind, time_zone, status, capacity,
            cell_minutes, currency, unit_minor, fee_minor, tax_basis_points, stay, cancellation_policy, version,
            create_time, update_time)
        VALUES ('res', 'ten', 'vnd', 'r', '', 'STAY', 'UTC', 'ACTIVE', 1, 1440, 'EUR', 100, 0, 0, '{}', 'FLEXIBLE', 1,
            now(), now());
        INSERT INTO holds (hold_id, tenant_id, user_id, booking_id, step, status, items, create_time, placed_until,
            expire_time, update_time)
        VALUES ('hld', 'ten', 'usr', 'bkg', 'book', 'HELD', '[]', {old}, {old}, {old} + interval '1 hour', {old});
        INSERT INTO claims (hold_id, position, tenant_id, resource_id, first_cell, last_cell, quantity, expire_time,
            finish_time)
        VALUES ('hld', 0, 'ten', 'res', 20000, 20001, 1, {old} + interval '1 hour', now());
        UPDATE claims SET expire_time = 'infinity';
        UPDATE holds SET status = 'POSTED', update_time = {old} + interval '1 second';
    """,
    "booking": """
        INSERT INTO bookings (booking_id, tenant_id, user_id, vendor_id, status, status_actor, status_reason, version,
            confirmation_code, asked, currency, total_minor, first_name, last_name, email, phone, payment_method, step,
            hold_step, create_time, update_time, payment_due_time, run_time)
        VALUES ('bkg', 'ten', 'usr', 'vnd', 'PENDING', 'usr', 'REQUESTED', 1, 'CODE', '{{}}', 'EUR', 200, 'f', 'l',
            'e', '', 'credit_card', 'HOLD', 'book', {old}, {old}, now(), now());
        UPDATE bookings SET status = 'CONFIRMED', version = 2, confirm_time = {old}, payment_status = 'SUCCEEDED',
            step = 'DONE', run_time = NULL, items = '[{{}}]', update_time = {old} + interval '1 second';
        INSERT INTO outbox (event_id, tenant_id, topic, key, type, payload, version, event_time, create_time,
            publish_time)
        VALUES ('evt0', 'ten', 't', 'older', 'berth.booking.events.v1.BookingRequested', '', 1,
                {old} - interval '1 hour', {old}, {old}),
            ('evt1', 'ten', 't', 'bkg', 'berth.booking.events.v1.BookingRequested', '', 1, {old}, {old}, {old}),
            ('evt2', 'ten', 't', 'bkg', 'berth.booking.events.v1.BookingConfirmed', '', 2, {old}, {old}, {old});
    """,
    "payment": """
        INSERT INTO booking_payments (booking_id, tenant_id) VALUES ('bkg', 'ten');
        INSERT INTO payments (payment_id, tenant_id, booking_id, step, user_id, vendor_id, currency, amount_minor,
            captured_minor, manual_capture, status, provider_intent_id, attempt_time, create_time, update_time, version)
        VALUES ('pay', 'ten', 'bkg', 'book', 'usr', 'vnd', 'EUR', 200, 200, false, 'SUCCEEDED', 'pi_1', {old}, {old},
            {old}, 2);
        INSERT INTO accounts VALUES ('clearing', 'ten', 'PROVIDER_CLEARING', '', 'EUR'),
            ('payable', 'ten', 'VENDOR_PAYABLE', 'vnd', 'EUR');
        INSERT INTO journal_entries (tenant_id, kind, booking_id, payment_id, entry_time)
        VALUES ('ten', 'CAPTURE', 'bkg', 'pay', {old});
        INSERT INTO postings SELECT entry_id, account, 'ten', 'EUR', amount
        FROM journal_entries, (VALUES ('clearing', 200), ('payable', -200)) AS lines (account, amount);
    """,
    "notification": """
        INSERT INTO deliveries (delivery_id, tenant_id, event_id, user_id, channel, kind, urgent, booking_id,
            challenge_id, status, attempts, last_error, create_time, next_try_time, sent_time)
        VALUES ('dlv', 'ten', 'evt2', 'usr', 'mail', 'booking_confirmed', false, 'bkg', '', 'SENT', 1, '', now(), now(),
            now());
    """,
}


@dataclass(frozen=True, slots=True)
class World:
    """The databases, and what the provider says it took."""

    urls: dict[str, Urls]
    charges: dict[str, Charge]

    def audit(self) -> dict[str, Reading]:
        """Judges every invariant by the auditor's own role."""
        with ExitStack() as stack:
            databases = open_databases(stack, {name: urls.auditor for name, urls in self.urls.items()})
            return self._judged(databases)

    def broken_by(self, database: str, statements: str) -> dict[str, int]:
        """The violations by invariant once something was broken as no service could: with triggers asleep.

        All of it happens in one transaction of the superuser's, which is undone.
        """
        with ExitStack() as stack:
            databases = {
                name: stack.enter_context(psycopg.connect(urls.superuser, row_factory=dict_row))
                for name, urls in self.urls.items()
            }
            databases[database].execute("SET session_replication_role = replica")
            databases[database].execute(statements.encode())
            found = self._judged(databases)
            databases[database].rollback()
        return {number: len(reading.violations) for number, reading in found.items() if reading.violations}

    def _judged(self, databases: dict[str, psycopg.Connection[Row]]) -> dict[str, Reading]:
        sources = Sources(databases, self.charges, timedelta(seconds=30))
        return {invariant.number: invariant.check(sources) for invariant in INVARIANTS}


@pytest.fixture(scope="module")
def world(new_database: NewDatabase) -> World:
    """A world in which every promise is kept, everything in it ten minutes old."""
    urls = {name: new_database(name) for name in SERVICES}
    old = "(now() - interval '10 minutes')"
    for name, statements in _HONEST.items():
        text = statements.replace("{old}", old).replace("{{}}", "{}")
        with psycopg.connect(urls[name].superuser) as connection:
            connection.execute(text.encode())
    return World(urls, {"pi_1": Charge("pi_1", 200, 0, 0.0)})
