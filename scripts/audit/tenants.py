"""Owns the invariant about tenants: no row is visible, or belongs, across them (I11)."""

from __future__ import annotations

from typing import LiteralString

from scripts.audit.findings import Reading, Violation
from scripts.audit.sources import Sources

# Tables with a tenant whose rows a service's own role could read without naming it.
_UNGUARDED = """
    SELECT c.relname AS name FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT (
        c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
    )
"""
_GUARDED = """
    SELECT count(*) AS n FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity
"""
# Roles that serve requests and yet pass by the policies: as owner, as superuser, or by attribute.
_PASSING_BY = """
    SELECT r.rolname AS name FROM pg_roles r
    WHERE r.rolname = current_database() || '_app' AND (
        r.rolsuper OR r.rolbypassrls
        OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p'))
    )
"""
# Rows that belong to another tenant than what they are a part of.
_PARTS: tuple[tuple[str, LiteralString], ...] = (
    (
        "inventory",
        """SELECT k.hold_id AS subject FROM claims k JOIN holds h USING (hold_id) JOIN resources r USING (resource_id)
        WHERE k.tenant_id <> h.tenant_id OR k.tenant_id <> r.tenant_id""",
    ),
    (
        "inventory",
        """SELECT resource_id AS subject FROM resources r JOIN vendors v USING (vendor_id)
        WHERE r.tenant_id <> v.tenant_id""",
    ),
    (
        "payment",
        """SELECT payment_id AS subject FROM payments p JOIN booking_payments b USING (booking_id)
        WHERE p.tenant_id <> b.tenant_id""",
    ),
    (
        "payment",
        """SELECT refund_id AS subject FROM refunds r JOIN payments p USING (payment_id)
        WHERE r.tenant_id <> p.tenant_id""",
    ),
    (
        "payment",
        """SELECT e.payment_id AS subject FROM postings x JOIN journal_entries e USING (entry_id)
        JOIN accounts a USING (account_id) WHERE x.tenant_id <> e.tenant_id OR x.tenant_id <> a.tenant_id""",
    ),
)


def crossing(sources: Sources) -> Reading:
    """I11: policies stand on every table with a tenant, nobody who serves passes by them, and parts have one tenant."""
    violations: list[Violation] = []
    examined = 0
    for database in sources.databases:
        examined += sources.rows(database, _GUARDED)[0]["n"]
        violations += [
            Violation(f"{database}.{row['name']}", "it has a tenant and no policy")
            for row in sources.rows(database, _UNGUARDED)
        ]
        violations += [
            Violation(row["name"], f"it serves requests in {database} and passes by its policies")
            for row in sources.rows(database, _PASSING_BY)
        ]
    for database, query in _PARTS:
        violations += [
            Violation(row["subject"], "it is part of another tenant's") for row in sources.rows(database, query)
        ]
    violations += _between_services(sources)
    return Reading(examined, violations)


def _between_services(sources: Sources) -> list[Violation]:
    tenants = {
        row["booking_id"]: row["tenant_id"]
        for row in sources.rows("booking", "SELECT booking_id, tenant_id FROM bookings")
    }
    related = [
        *sources.rows("inventory", "SELECT hold_id AS id, booking_id, tenant_id FROM holds WHERE booking_id <> ''"),
        *sources.rows("payment", "SELECT payment_id AS id, booking_id, tenant_id FROM payments"),
    ]
    return [
        Violation(row["id"], f"its tenant is not that of {row['booking_id']}")
        for row in related
        if row["booking_id"] in tenants and tenants[row["booking_id"]] != row["tenant_id"]
    ]
