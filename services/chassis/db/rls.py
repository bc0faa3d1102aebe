"""Row security: the second layer between tenants, below the use cases."""

from __future__ import annotations

import re

_NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")


def tenant_policy(table: str) -> list[str]:
    """The DDL that lets a role see and write, in `table`, only rows of the tenant that its transaction is bound to."""
    if not _NAME.match(table):
        raise ValueError(f"{table!r} is not a plain table name.")
    # The setting is NULL before it was ever set and '' after a transaction that set it: both equal no tenant's id.
    mine = "tenant_id = current_setting('berth.tenant', true)"
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY {table}_tenant ON {table} USING ({mine}) WITH CHECK ({mine})",
    ]
