"""Ownerships that auth has still to be told of: a due time beside each vendor, until auth has answered."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.db import Database
from services.inventory.ports import Grant

# The next attempt is due later the older the vendor is: an outage is not hammered, and ends within two minutes.
TAKE = """
    UPDATE vendors SET grant_due = clock_timestamp()
        + least(interval '2 minutes', interval '5 seconds' + (clock_timestamp() - create_time) / 4)
    WHERE vendor_id IN (
        SELECT vendor_id FROM vendors WHERE grant_due <= clock_timestamp()
        ORDER BY grant_due LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING tenant_id, vendor_id, owner_user_id
"""
DONE = "UPDATE vendors SET grant_due = NULL WHERE tenant_id = %s AND vendor_id = %s"


class SqlGrants:
    """The port `Grants` on PostgreSQL, for all tenants: with the worker's role."""

    def __init__(self, worker_database: Database) -> None:
        self._database = worker_database

    async def pending(self, limit: int) -> Sequence[Grant]:
        """Some that are due."""
        rows = await self._database.fetch_all(TAKE, (limit,))
        return [Grant(row.tenant_id, row.vendor_id, row.owner_user_id) for row in rows]

    async def done(self, grant: Grant) -> None:
        """Auth knows of it."""
        await self._database.execute(DONE, (grant.tenant_id, grant.vendor_id))
