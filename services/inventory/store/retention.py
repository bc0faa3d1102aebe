"""What inventory forgets, and when: quotes, holds that ended, and the counters of days long gone."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.retention import Job

QUOTES_KEEP = timedelta(days=7)  # after their end
ENDED_HOLDS_KEEP = timedelta(days=30)  # with their history, for the auditor
SOLD_KEEP = timedelta(days=90)  # how long after its end a sold range still counts
BATCH = 1_000  # rows

_QUOTES = text(
    "DELETE FROM quotes WHERE quote_id IN (SELECT quote_id FROM quotes WHERE expire_time < :before LIMIT :batch)"
)

_ENDED_HOLDS = text("""
    WITH old AS (
        SELECT hold_id FROM holds
        WHERE status NOT IN ('HELD', 'POSTED') AND update_time < :before LIMIT :batch
    ), history AS (
        DELETE FROM hold_history WHERE hold_id IN (SELECT hold_id FROM old)
    ), dead AS (
        DELETE FROM claims WHERE hold_id IN (SELECT hold_id FROM old)
    )
    DELETE FROM holds WHERE hold_id IN (SELECT hold_id FROM old)
""")

_LONG_SOLD = text(
    "SELECT resource_id FROM claims WHERE live AND expire_time = 'infinity' AND finish_time < :before LIMIT 1"
)
_LOCK = text("SELECT FROM resources WHERE resource_id = :resource FOR NO KEY UPDATE")
_SETTLE = text(
    "UPDATE claims SET live = false"
    " WHERE resource_id = :resource AND live AND expire_time = 'infinity' AND finish_time < :before"
)

_EMPTY_CELLS = text("""
    DELETE FROM cells WHERE (resource_id, cell) IN (
        SELECT c.resource_id, c.cell FROM cells c JOIN resources r USING (resource_id)
        WHERE c.used = 0 AND c.cell < current_cell(r.cell_minutes, :before) LIMIT :batch
    )
""")


async def _purge_quotes(connection: AsyncConnection, before: datetime) -> int:
    return (await connection.execute(_QUOTES, {"before": before, "batch": BATCH})).rowcount


async def _purge_holds(connection: AsyncConnection, before: datetime) -> int:
    return (await connection.execute(_ENDED_HOLDS, {"before": before, "batch": BATCH})).rowcount


async def _settle_claims(connection: AsyncConnection, before: datetime) -> int:
    """Stop counting what was used long ago, of one resource, under its lock."""
    resource = (await connection.execute(_LONG_SOLD, {"before": before})).scalar()
    if resource is None:
        return 0
    await connection.execute(_LOCK, {"resource": resource})
    return (await connection.execute(_SETTLE, {"resource": resource, "before": before})).rowcount


async def _purge_cells(connection: AsyncConnection, before: datetime) -> int:
    return (await connection.execute(_EMPTY_CELLS, {"before": before, "batch": BATCH})).rowcount


JOBS = (
    Job("quotes", QUOTES_KEEP, _purge_quotes),
    Job("claims", SOLD_KEEP, _settle_claims),
    Job("cells", SOLD_KEEP, _purge_cells),
    Job("holds", ENDED_HOLDS_KEEP, _purge_holds),
)
