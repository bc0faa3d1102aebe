"""What was refused has left nothing: every table has as many rows as before."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg

from scripts.audit.__main__ import SERVICES
from tests.journey.audit import drain
from tests.journey.bad_input.good import Good
from tests.journey.bad_input.test_fields import FUZZED, by_path
from tests.journey.bad_input.values import variants
from tests.journey.world.calls import Calls
from tests.mesh import Mesh

WRITING = [
    method for method in FUZZED if method.policy.rate_class in {"WRITE", "CREDENTIAL"} and method.bindings[0].has_body
]
# Refusals that promise that nothing was begun.
BEFORE_ANYTHING = {
    "INVALID_FIELD",
    "MALFORMED_REQUEST",
    "UPDATE_MASK_INVALID",
    "ROUTE_NOT_FOUND",
    "IDEMPOTENCY_KEY_INVALID",
}


def rows(mesh: Mesh) -> Mapping[str, int]:
    """How many rows every table of every service has."""
    counted: dict[str, int] = {}
    for service in SERVICES:
        with psycopg.connect(mesh.superuser_url(service)) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                row = connection.execute(f'SELECT count(*) FROM "{table}"'.encode()).fetchone()
                counted[f"{service}.{table}"] = row[0] if row else 0
    return counted


def test_refused_requests_leave_nothing(calls: Calls, good: dict[str, Good]) -> None:
    wrong = [
        (method, whole, good[by_path(method)])
        for method in WRITING
        # An id that is no id, next to a field that is wrong: nobody may begin with the good half.
        for _, value, whole in variants(method.descriptor.input_type, good[by_path(method)].fields)
        if value in ("\x00", 10**30) or (isinstance(value, dict) and not value)
    ]
    assert {by_path(method) for method, _, _ in wrong} >= {
        by_path(m) for m in WRITING if m.descriptor.input_type.fields
    }
    drain(calls.mesh)
    before = rows(calls.mesh)
    refused = 0
    for method, whole, request in wrong:
        reply = calls.by_rest(method, whole, request.headers)
        if reply.reason in BEFORE_ANYTHING:
            refused += 1
        else:
            before = rows(calls.mesh)  # something else was the answer: what it wrote is its own
    after = rows(calls.mesh)
    assert refused > len(WRITING)
    # Tokens are asked for anew when they grow old, which opens a session.
    changed = {table: (before[table], count) for table, count in after.items() if before[table] != count}
    assert not changed.keys() - {"auth.sessions", "auth.attempts"}, changed


def test_domain_refusals_leave_nothing_half_done(calls: Calls, good: dict[str, Good]) -> None:
    """A room that nobody may book, a payment that cannot be refunded: refused by the rule, after validation."""
    book = "booking.v1.BookingService/CreateBooking"
    hold = "inventory.v1.HoldService/PlaceHold"
    refund = "payment.v1.PaymentService/CreateRefund"
    night = good[hold].fields["items"][0] | {"quantity": 1000}
    two = [good[hold].fields["items"][0], night | {"startDate": "2020-01-01", "endDate": "2020-01-02"}]
    headers = good[book].headers
    drain(calls.mesh)
    before = rows(calls.mesh)
    said = [
        calls.by_rest(calls.method(hold), {"items": two}, headers).reason,
        calls.by_rest(calls.method("inventory.v1.AvailabilityService/CreateQuote"), {"items": two}, headers).reason,
        calls.by_rest(calls.method(refund), good[refund].fields, headers).reason,
    ]
    assert said == ["NOT_BOOKABLE", "NOT_BOOKABLE", "REFUND_EXCEEDS_PAYMENT"]
    after = rows(calls.mesh)
    # A refund's key is claimed before the refund is asked for.
    kept = {"auth.sessions", "auth.attempts", "payment.idempotency"}
    changed = {table: (before[table], count) for table, count in after.items() if before[table] != count}
    assert not changed.keys() - kept, changed
