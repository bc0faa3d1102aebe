"""Owns the invariant about histories: every story is legal, has no gap, and ends where its subject stands (I8)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, pairwise

from scripts.audit.findings import Reading, Violation
from scripts.audit.sources import Row, Sources

# Written here once more, on purpose: the auditor takes nobody's word for what is legal.
_BOOKING = {
    ("", "PENDING"),
    ("PENDING", "CONFIRMED"),
    ("PENDING", "FAILED"),
    ("PENDING", "EXPIRED"),
    ("PENDING", "CANCELLED"),
    ("CONFIRMED", "CANCELLED"),
}
_HOLD = {
    ("", "HELD"),
    ("", "VOIDED"),
    ("HELD", "HELD"),  # taken over by a booking
    ("HELD", "POSTED"),
    ("HELD", "VOIDED"),
    ("HELD", "RELEASED"),
    ("HELD", "EXPIRED"),
    ("POSTED", "CANCELLED"),
}
_BOOKING_STORIES = """
    SELECT h.booking_id AS subject, coalesce(h.from_status, '') AS was, h.to_status AS became, b.status AS stands
    FROM booking_history h LEFT JOIN bookings b USING (booking_id) ORDER BY h.booking_id, h.version
"""
_HOLD_STORIES = """
    SELECT h.hold_id AS subject, h.from_status AS was, h.to_status AS became, b.status AS stands
    FROM hold_history h LEFT JOIN holds b USING (hold_id)
    ORDER BY h.hold_id, h.transition_time
"""
_UNTOLD = """
    SELECT booking_id AS subject FROM bookings b
    WHERE NOT EXISTS (SELECT FROM booking_history h WHERE h.booking_id = b.booking_id)
"""


def legal(sources: Sources) -> Reading:
    """I8: no illegal transition in any history."""
    bookings = sources.rows("booking", _BOOKING_STORIES)
    holds = sources.rows("inventory", _HOLD_STORIES)
    violations = [*_judged(bookings, _BOOKING), *_judged(holds, _HOLD)]
    violations += [
        Violation(row["subject"], "it stands somewhere, and its history is empty")
        for row in sources.rows("booking", _UNTOLD)
    ]
    return Reading(len(bookings) + len(holds), violations)


def _judged(rows: Iterable[Row], legal_steps: set[tuple[str, str]]) -> list[Violation]:
    violations: list[Violation] = []
    for subject, group in groupby(rows, key=lambda row: row["subject"]):
        story = list(group)
        violations += [
            Violation(subject, f"{row['was'] or 'nothing'} became {row['became']}")
            for row in story
            if (row["was"], row["became"]) not in legal_steps
        ]
        violations += [
            Violation(subject, f"it became {before['became']}, and next it was {after['was']}")
            for before, after in pairwise(story)
            if before["became"] != after["was"]
        ]
        if story[0]["was"]:
            violations.append(Violation(subject, f"its story begins with {story[0]['was']}"))
        if story[-1]["stands"] is not None and story[-1]["stands"] != story[-1]["became"]:
            violations.append(
                Violation(subject, f"it stands at {story[-1]['stands']}, its story ends with {story[-1]['became']}")
            )
    return violations
