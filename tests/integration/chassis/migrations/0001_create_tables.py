"""The chassis's tables, and one table of a tenant's things."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency import store
from services.chassis.inbox import table as inbox
from services.chassis.outbox import table as outbox


def upgrade() -> None:
    """Create them."""
    for statement in (*outbox.CREATE_V1, *inbox.CREATE_V1, *store.CREATE_V1):
        op.execute(statement)
    op.execute(
        "CREATE TABLE thing (thing_id text PRIMARY KEY, tenant_id text NOT NULL, size int NOT NULL,"
        " CONSTRAINT thing_size CHECK (size > 0))"
    )
    for statement in tenant_policy("thing"):
        op.execute(statement)
