"""Owns the proof that the auditor sees: an honest world is clean, each planted violation is counted by its number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.audit.invariants import INVARIANTS
from scripts.audit.sources import Charge
from tests.integration.audit.conftest import World

PLANTED = {
    "a unit sold twice": (
        "I1",
        "inventory",
        """INSERT INTO holds SELECT 'hld2', tenant_id, user_id, 'other', step, status, items, create_time, placed_until,
            expire_time, update_time FROM holds;
        INSERT INTO claims SELECT 'hld2', position, tenant_id, resource_id, first_cell, last_cell, quantity, live,
            expire_time, finish_time FROM claims;
        INSERT INTO hold_history SELECT 'hld2', transition_time, tenant_id, from_status, to_status, booking_id
            FROM hold_history""",
    ),
    "a counter that lies": ("I1", "inventory", "UPDATE cells SET used = 0 WHERE cell = 20000"),
    "confirmed without units": (
        "I1",
        "inventory",
        """UPDATE holds SET status = 'CANCELLED'; UPDATE claims SET live = false; DELETE FROM cells;
        INSERT INTO hold_history VALUES ('hld', now(), 'ten', 'POSTED', 'CANCELLED', 'bkg')""",
    ),
    "confirmed of nothing": ("I1", "booking", "UPDATE bookings SET items = '[]'"),
    "confirmed and given back": (
        "I2",
        "payment",
        """UPDATE payments SET refunded_minor = 50;
        INSERT INTO refunds (refund_id, tenant_id, payment_id, booking_id, step, currency, amount_minor, status, reason,
            attempt_time, create_time, update_time)
        VALUES ('rfd', 'ten', 'pay', 'bkg', 'cancel', 'EUR', 50, 'PENDING', '', now(), now(),
            now() - interval '9 minutes')""",
    ),
    "paid for a booking that never was": ("I3", "payment", "UPDATE payments SET booking_id = 'lost'"),
    "a hold that outlived its time": (
        "I4",
        "inventory",
        """INSERT INTO holds (hold_id, tenant_id, user_id, status, items, create_time, placed_until, expire_time,
            update_time)
        VALUES ('old', 'ten', 'usr', 'HELD', '[]', now(), now(), now() - interval '5 minutes', now());
        INSERT INTO hold_history VALUES ('old', now(), 'ten', '', 'HELD', '')""",
    ),
    "a claim without its hold": ("I4", "inventory", "UPDATE claims SET expire_time = now() + interval '1 hour'"),
    "an event that was never published": (
        "I5",
        "booking",
        "UPDATE outbox SET publish_time = NULL WHERE event_id = 'evt1'",
    ),
    "a transition without its event": ("I6", "booking", "DELETE FROM outbox WHERE event_id = 'evt2'"),
    "an event without its transition": ("I6", "booking", "DELETE FROM booking_history WHERE version = 1"),
    "an event that had no effect": ("I7", "notification", "DELETE FROM deliveries"),
    "an event with two effects": (
        "I7",
        "notification",
        """ALTER TABLE deliveries DROP CONSTRAINT deliveries_once_key;
        INSERT INTO deliveries SELECT 'dlv2', tenant_id, event_id, user_id, channel, kind, urgent, booking_id,
            challenge_id, refund_currency, refund_minor, expire_time, status, attempts, last_error, create_time,
            next_try_time, sent_time FROM deliveries""",
    ),
    "an illegal transition of a booking": (
        "I8",
        "booking",
        """ALTER TABLE booking_history DROP CONSTRAINT booking_history_legal;
        UPDATE booking_history SET from_status = 'FAILED' WHERE version = 2""",
    ),
    "an illegal transition of a hold": (
        "I8",
        "inventory",
        "INSERT INTO hold_history VALUES ('hld', now(), 'ten', 'POSTED', 'HELD', 'bkg')",
    ),
    "a status that no history tells": ("I8", "booking", "UPDATE bookings SET status = 'PENDING'"),
    "a ledger out of balance": (
        "I10",
        "payment",
        "UPDATE postings SET amount_minor = 199 WHERE account_id = 'clearing'",
    ),
    "a capture that the ledger lacks": ("I10", "payment", "DELETE FROM postings; DELETE FROM journal_entries"),
    "a table without its policy": ("I11", "booking", "ALTER TABLE bookings DISABLE ROW LEVEL SECURITY"),
    "a part of another tenant": ("I11", "inventory", "UPDATE claims SET tenant_id = 'other'"),
    "a payment in another tenant": (
        "I11",
        "payment",
        "UPDATE payments SET tenant_id = 'other'; UPDATE booking_payments SET tenant_id = 'other'",
    ),
    "a mail to somebody else": ("I12", "notification", "UPDATE deliveries SET user_id = 'stranger'"),
    "two mails about one confirmation": (
        "I12",
        "notification",
        """INSERT INTO deliveries SELECT 'dlv2', tenant_id, 'evt9', user_id, channel, kind, urgent, booking_id,
            challenge_id, refund_currency, refund_minor, expire_time, status, attempts, last_error, create_time,
            next_try_time, sent_time FROM deliveries""",
    ),
}


def test_an_honest_world_is_clean(world: World) -> None:
    readings = world.audit()
    assert {number: reading.violations for number, reading in readings.items() if reading.violations} == {}
    # A check that looks at nothing finds nothing: each has seen what there is.
    assert [number for number, reading in readings.items() if not reading.examined] == []


@pytest.mark.parametrize(("number", "database", "statements"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_violation_is_counted(world: World, number: str, database: str, statements: str) -> None:
    assert world.broken_by(database, statements).get(number, 0) >= 1


@pytest.mark.parametrize(
    "charges",
    [
        {},
        {"pi_1": Charge("pi_1", 300, 0, 0.0)},
        {"pi_1": Charge("pi_1", 200, 50, 0.0)},
        {"pi_1": Charge("pi_1", 200, 0, 0.0), "pi_2": Charge("pi_2", 1, 0, 0.0)},
    ],
    ids=["never charged", "charged more", "given back", "charged for nobody"],
)
def test_a_provider_that_disagrees_is_counted(world: World, charges: dict[str, Charge]) -> None:
    readings = replace(world, charges=charges).audit()
    assert {number: len(found.violations) for number, found in readings.items() if found.violations} == {"I10": 1}


def test_every_invariant_has_a_planted_violation() -> None:
    assert {number for number, _, _ in PLANTED.values()} == {invariant.number for invariant in INVARIANTS}
