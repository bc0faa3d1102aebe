"""Owns the invariants about money: what is kept is what is owed (I2, I3), and our ledger is the provider's (I10)."""

from __future__ import annotations

from scripts.audit.findings import Reading, Violation
from scripts.audit.sources import Row, Sources

# Refunds that booking asks for by policy; those that people ask for besides are named `manual-…`.
_BY_POLICY = ("cancel", "late")

_KEPT = """
    SELECT p.booking_id, sum(p.captured_minor)::bigint AS captured,
        coalesce(sum(r.policy), 0)::bigint AS policy, coalesce(sum(r.given), 0)::bigint AS given,
        max(greatest(p.update_time, r.update_time)) < now() - %(settle)s AS settled
    FROM payments p LEFT JOIN LATERAL (
        SELECT sum(amount_minor) FILTER (WHERE step = ANY (%(by_policy)s)) AS policy, sum(amount_minor) AS given,
            max(update_time) AS update_time
        FROM refunds WHERE payment_id = p.payment_id AND status <> 'FAILED'
    ) r ON true
    GROUP BY p.booking_id
"""
_BOOKINGS = """
    SELECT booking_id, status, total_minor, refund_minor, confirm_time IS NOT NULL AS was_confirmed,
        update_time < now() - %(settle)s AS settled
    FROM bookings
"""


def kept_is_owed(sources: Sources) -> Reading:
    """I2: captured less refunded is what the booking's terms say, once both have settled."""
    kept = _kept(sources)
    violations: list[Violation] = []
    bookings = sources.rows("booking", _BOOKINGS)
    for booking in bookings:
        money = kept.get(booking["booking_id"])
        if not booking["settled"] or (money and not money["settled"]):
            continue
        due, back = _terms(booking)
        captured, policy = (money["captured"], money["policy"]) if money else (0, 0)
        if booking["was_confirmed"] and (captured, policy) != (due, back):
            violations.append(
                Violation(
                    booking["booking_id"],
                    f"{booking['status']}: {due} due and {back} to give back; {captured} captured and {policy} given",
                )
            )
        elif not booking["was_confirmed"] and captured != policy and booking["status"] != "PENDING":
            violations.append(
                Violation(
                    booking["booking_id"],
                    f"{booking['status']} without ever being confirmed: {captured} captured, {policy} given back",
                )
            )
    return Reading(len(bookings), violations)


def _terms(booking: Row) -> tuple[int, int]:
    return booking["total_minor"] or 0, booking["refund_minor"] if booking["status"] == "CANCELLED" else 0


def _kept(sources: Sources) -> dict[str, Row]:
    return {row["booking_id"]: row for row in sources.rows("payment", _KEPT, by_policy=list(_BY_POLICY))}


def nobody_pays_for_nothing(sources: Sources) -> Reading:
    """I3: no captured money without a living booking or a refund, once it has settled."""
    bookings = {row["booking_id"]: row for row in sources.rows("booking", _BOOKINGS)}
    violations: list[Violation] = []
    paid = [row for row in _kept(sources).values() if row["captured"] and row["settled"]]
    for money in paid:
        booking = bookings.get(money["booking_id"])
        if booking is None:
            violations.append(
                Violation(money["booking_id"], f"{money['captured']} captured, and there is no such booking")
            )
        elif not booking["was_confirmed"] and money["captured"] > money["given"]:
            violations.append(
                Violation(
                    money["booking_id"],
                    f"{booking['status']}, and {money['captured'] - money['given']} of its payment is kept",
                )
            )
    return Reading(len(paid), violations)


_LEDGER = """
    SELECT p.payment_id, p.provider_intent_id AS intent, p.captured_minor AS captured, p.refunded_minor AS refunded,
        p.update_time < now() - %(settle)s AS settled, coalesce(j.captured, 0)::bigint AS booked,
        coalesce(j.refunded, 0)::bigint AS booked_back, coalesce(f.pending, 0)::bigint AS pending
    FROM payments p LEFT JOIN (
        SELECT e.payment_id,
            sum(x.amount_minor) FILTER (WHERE e.kind = 'CAPTURE' AND a.kind = 'PROVIDER_CLEARING') AS captured,
            -sum(x.amount_minor) FILTER (
                WHERE e.kind IN ('REFUND', 'REFUND_FAILURE') AND a.kind = 'PROVIDER_CLEARING'
            ) AS refunded
        FROM journal_entries e JOIN postings x USING (entry_id) JOIN accounts a USING (account_id)
        GROUP BY e.payment_id
    ) j USING (payment_id) LEFT JOIN (
        SELECT payment_id, sum(amount_minor) AS pending FROM refunds WHERE status = 'PENDING' GROUP BY payment_id
    ) f USING (payment_id)
"""
_UNBALANCED = """
    SELECT entry_id, currency, sum(amount_minor)::bigint AS rest FROM postings
    GROUP BY entry_id, currency HAVING sum(amount_minor) <> 0
"""


def ledgers_agree(sources: Sources) -> Reading:
    """I10: every entry balances, payments agree with the ledger, and the ledger with the provider."""
    violations = [
        Violation(f"journal entry {row['entry_id']}", f"it is out of balance by {row['rest']} {row['currency']}")
        for row in sources.rows("payment", _UNBALANCED)
    ]
    payments = sources.rows("payment", _LEDGER)
    for row in payments:
        if row["captured"] != row["booked"]:
            violations.append(
                Violation(row["payment_id"], f"it says {row['captured']} captured, the ledger {row['booked']}")
            )
        if row["settled"] and row["refunded"] - row["pending"] != row["booked_back"]:
            violations.append(
                Violation(row["payment_id"], f"it says {row['refunded']} refunded, the ledger {row['booked_back']}")
            )
    if sources.charges is None:
        sources.notes.append("I10 was judged on our own books alone: no provider was given.")
        return Reading(len(payments), violations)
    return Reading(len(payments), [*violations, *_against_provider(sources, payments)])


def _against_provider(sources: Sources, payments: list[Row]) -> list[Violation]:
    charges = dict(sources.charges or {})
    violations: list[Violation] = []
    for row in payments:
        charge = charges.pop(row["intent"], None) if row["intent"] else None
        captured, refunded = (charge.captured, charge.refunded) if charge else (0, 0)
        if row["settled"] and (captured, refunded) != (row["captured"], row["refunded"]):
            violations.append(
                Violation(
                    row["payment_id"],
                    f"the provider took {captured} and gave {refunded} back; "
                    f"we say {row['captured']} and {row['refunded']}",
                )
            )
    violations += [
        Violation(charge.intent, f"the provider took {charge.captured} for an intent that we do not know")
        for charge in charges.values()
        if charge.settled(sources.settle)
    ]
    return violations
