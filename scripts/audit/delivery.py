"""Owns the invariants about facts on their way: published (I5), true (I6), applied once (I7), told once (I12)."""

from __future__ import annotations

from collections import Counter

from scripts.audit.findings import Reading, Violation
from scripts.audit.sources import Row, Sources

_EVENT_OF_STATUS = {
    "PENDING": "BookingRequested",
    "CONFIRMED": "BookingConfirmed",
    "FAILED": "BookingFailed",
    "EXPIRED": "BookingExpired",
    "CANCELLED": "BookingCancelled",
}
# Events that somebody must be told of, by the kind of message that tells it.
_TOLD = {
    "berth.booking.events.v1.BookingConfirmed": "booking_confirmed",
    "berth.booking.events.v1.BookingCancelled": "booking_cancelled",
}


def published(sources: Sources) -> Reading:
    """I5: no event waits longer than the settle time to be published."""
    violations: list[Violation] = []
    examined = 0
    for database in sources.databases:
        if not sources.has(database, "outbox"):
            continue
        examined += sources.rows(database, "SELECT count(*) AS n FROM outbox")[0]["n"]
        waiting = sources.rows(
            database,
            """SELECT event_id, create_time FROM outbox
            WHERE publish_time IS NULL AND create_time < now() - %(settle)s""",
        )
        violations += [
            Violation(f"{database} {row['event_id']}", f"unpublished since {row['create_time']}") for row in waiting
        ]
    return Reading(examined, violations)


def true_to_transitions(sources: Sources) -> Reading:
    """I6: every transition of a booking has its one event, and every event its committed transition."""
    # Events are forgotten after a while; a transition older than the oldest event is not judged.
    transitions = sources.rows(
        "booking",
        """SELECT booking_id, version, to_status FROM booking_history
        WHERE transition_time > (SELECT min(event_time) FROM outbox)""",
    )
    events = sources.rows(
        "booking",
        """SELECT key AS booking_id, version, type, event_id FROM outbox
        WHERE type LIKE 'berth.booking.events.v1.%%' AND event_time > (SELECT min(event_time) FROM outbox)""",
    )
    wanted = {(row["booking_id"], row["version"]): _EVENT_OF_STATUS[row["to_status"]] for row in transitions}
    found = Counter((row["booking_id"], row["version"]) for row in events)
    names = {(row["booking_id"], row["version"]): row["type"].rpartition(".")[2] for row in events}
    violations = [
        Violation(f"{booking} version {version}", f"it became {name} {found[booking, version]} times as an event")
        for (booking, version), name in wanted.items()
        if found[booking, version] != 1 or names[booking, version] != name
    ]
    violations += [
        Violation(f"{booking} version {version}", f"{names[booking, version]} was told of a transition that never was")
        for booking, version in found.keys() - wanted.keys()
    ]
    return Reading(len(transitions), violations)


def applied_once(sources: Sources) -> Reading:
    """I7: what consumers did, they did once for each event: one transition, one refund, one message queued."""
    twice = sources.rows(
        "booking",
        """SELECT booking_id, to_status, count(*) AS n FROM booking_history
        GROUP BY booking_id, to_status HAVING count(*) > 1""",
    )
    violations = [Violation(row["booking_id"], f"it became {row['to_status']} {row['n']} times") for row in twice]
    refunds = sources.rows(
        "payment",
        """SELECT booking_id, step, count(*) AS n FROM refunds WHERE status <> 'FAILED'
        GROUP BY booking_id, step HAVING count(*) > 1""",
    )
    violations += [
        Violation(row["booking_id"], f"the refund {row['step']!r} was given {row['n']} times") for row in refunds
    ]
    told = sources.rows("notification", "SELECT event_id, count(*) AS n FROM deliveries GROUP BY event_id")
    queued = {row["event_id"]: row["n"] for row in told}
    events = sources.rows(
        "booking",
        """SELECT event_id, type FROM outbox WHERE type = ANY (%(types)s) AND publish_time < now() - %(settle)s
        AND publish_time > now() - interval '1 day'""",
        types=list(_TOLD),
    )
    violations += [
        Violation(row["event_id"], f"{row['type']} queued {queued.get(row['event_id'], 0)} messages")
        for row in events
        if queued.get(row["event_id"], 0) != 1
    ]
    return Reading(len(events) + len(told), violations)


def told_once(sources: Sources) -> Reading:
    """I12: nobody is told twice of one thing, and nobody of what concerns somebody else."""
    deliveries = sources.rows(
        "notification",
        """SELECT delivery_id, event_id, user_id, channel, kind, booking_id, status FROM deliveries
        WHERE status <> 'DROPPED'""",
    )
    persons = {
        row["booking_id"]: row["user_id"] for row in sources.rows("booking", "SELECT booking_id, user_id FROM bookings")
    }
    violations = [
        Violation(row["delivery_id"], f"{row['kind']} of {row['booking_id']} went to somebody else")
        for row in deliveries
        if row["booking_id"] in persons and persons[row["booking_id"]] != row["user_id"]
    ]
    return Reading(len(deliveries), [*violations, *_twice(deliveries)])


def _twice(deliveries: list[Row]) -> list[Violation]:
    by_event = Counter((row["event_id"], row["user_id"], row["channel"]) for row in deliveries)
    violations = [
        Violation(event, f"{user} was told of it {count} times")
        for (event, user, _), count in by_event.items()
        if count > 1
    ]
    # A booking is confirmed once and cancelled once; other kinds, such as a failed attempt, may come again.
    by_booking = Counter(
        (row["booking_id"], row["kind"]) for row in deliveries if row["kind"] in _TOLD.values() and row["booking_id"]
    )
    violations += [
        Violation(booking, f"{kind} was sent {count} times")
        for (booking, kind), count in by_booking.items()
        if count > 1
    ]
    return violations
