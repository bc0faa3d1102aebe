"""Owns the invariants about units: never more sold than there are (I1), and no hold that has outlived its time (I4)."""

from __future__ import annotations

from collections import defaultdict

from scripts.audit.findings import Reading, Violation
from scripts.audit.sources import Row, Sources

# Judged from the claims themselves, not from the counters that are meant to guard them: each claim begins in one cell
# and ends behind another, and the running sum over a resource's cells is what is taken at each.
_TAKEN = """
    WITH taking AS (
        SELECT k.resource_id, k.first_cell, k.last_cell, k.quantity FROM claims k JOIN holds h USING (hold_id)
        WHERE k.live AND (h.status = 'POSTED' OR h.status = 'HELD' AND h.expire_time > now())
    ), steps AS (
        SELECT resource_id, first_cell AS cell, quantity AS change FROM taking
        UNION ALL SELECT resource_id, last_cell + 1, -quantity FROM taking
    ), running AS (
        SELECT resource_id, cell, sum(sum(change)) OVER (PARTITION BY resource_id ORDER BY cell) AS taken
        FROM steps GROUP BY resource_id, cell
    )
    SELECT u.resource_id, u.cell, u.taken, r.capacity FROM running u JOIN resources r USING (resource_id)
    LEFT JOIN cells c USING (resource_id, cell)
    WHERE u.taken > coalesce(c.capacity, r.capacity)
"""


def oversold(sources: Sources) -> Reading:
    """I1: at no instant more held and sold than there is."""
    violations = [
        Violation(f"{row['resource_id']} cell {row['cell']}", f"{row['taken']} taken of {row['capacity']}")
        for row in sources.rows("inventory", _TAKEN)
    ]
    violations += [
        Violation(
            f"{row['resource_id']} cell {row['cell']}",
            f"the counter says {row['used']}, the claims {row['claimed']}, the capacity is {row['capacity']}",
        )
        for row in sources.rows("inventory", "SELECT * FROM miscounted_cells")
    ]
    violations += _sold_without_units(sources)
    examined = sources.rows("inventory", "SELECT count(*) AS n FROM claims")[0]["n"]
    return Reading(examined, violations)


def _sold_without_units(sources: Sources) -> list[Violation]:
    posted = _posted(sources)
    confirmed = sources.rows(
        "booking",
        """SELECT booking_id, items = '[]' OR vendor_id = '' AS blank FROM bookings
        WHERE status = 'CONFIRMED' AND update_time < now() - %(settle)s""",
    )
    unsold = [
        Violation(row["booking_id"], "it is CONFIRMED, but inventory has sold it no units")
        for row in confirmed
        if row["booking_id"] not in posted
    ]
    blank = [
        Violation(row["booking_id"], "it is CONFIRMED, but names nothing sold") for row in confirmed if row["blank"]
    ]
    return unsold + blank


def _posted(sources: Sources) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sources.rows("inventory", "SELECT hold_id, booking_id, update_time FROM holds WHERE status = 'POSTED'"):
        found[row["booking_id"]].append(row)
    return found


def outlived(sources: Sources) -> Reading:
    """I4: every hold is posted, voided or expired soon after its time; and units stay sold only to living bookings."""
    holds = sources.rows(
        "inventory",
        "SELECT hold_id, expire_time FROM holds WHERE status = 'HELD' AND expire_time < now() - %(settle)s",
    )
    violations = [Violation(row["hold_id"], f"still HELD; it ended {row['expire_time']}") for row in holds]
    violations += [
        Violation(row["hold_id"], f"a claim lives although its hold is {row['status']}")
        for row in sources.rows("inventory", "SELECT hold_id, status FROM stray_claims")
    ]
    over = sources.rows(
        "booking",
        """SELECT booking_id, status FROM bookings
        WHERE status IN ('FAILED', 'EXPIRED', 'CANCELLED') AND update_time < now() - %(settle)s""",
    )
    posted = _posted(sources)
    for row in over:
        violations += [
            Violation(hold["hold_id"], f"sold to {row['booking_id']}, which is {row['status']}")
            for hold in posted.get(row["booking_id"], [])
        ]
    examined = sources.rows("inventory", "SELECT count(*) AS n FROM holds")[0]["n"]
    return Reading(examined, violations)
