"""Creates vendors, resources and quotes, and the tables that the chassis keeps: keys and outbox."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency import store as idempotency
from services.chassis.outbox import table as outbox

TABLES = (
    """
    CREATE TABLE vendors (
        vendor_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        display_name text NOT NULL,
        status text NOT NULL
            CONSTRAINT vendors_status CHECK (status IN ('DRAFT', 'SUBMITTED', 'APPROVED', 'REJECTED')),
        owner_user_id text NOT NULL,
        review_note text NOT NULL DEFAULT '',
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        grant_due timestamptz
    )
    """,
    "CREATE INDEX vendors_of_tenant ON vendors (tenant_id, vendor_id)",
    "CREATE INDEX vendors_to_grant ON vendors (grant_due) WHERE grant_due IS NOT NULL",
    """
    CREATE TABLE resources (
        resource_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        vendor_id text NOT NULL CONSTRAINT resources_vendor REFERENCES vendors,
        name text NOT NULL,
        description text NOT NULL,
        kind text NOT NULL CONSTRAINT resources_kind CHECK (kind IN ('STAY', 'APPOINTMENT')),
        time_zone text NOT NULL,
        status text NOT NULL CONSTRAINT resources_status CHECK (status IN ('ACTIVE', 'ARCHIVED')),
        capacity integer NOT NULL CONSTRAINT resources_capacity CHECK (capacity > 0),
        cell_minutes integer NOT NULL CONSTRAINT resources_cell_minutes CHECK (cell_minutes IN (5, 15, 1440)),
        currency text NOT NULL,
        unit_minor bigint NOT NULL CONSTRAINT resources_unit CHECK (unit_minor >= 0),
        fee_minor bigint NOT NULL CONSTRAINT resources_fee CHECK (fee_minor >= 0),
        tax_basis_points integer NOT NULL CONSTRAINT resources_tax CHECK (tax_basis_points >= 0),
        stay jsonb,
        appointment jsonb,
        cancellation_policy text NOT NULL,
        version bigint NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        CONSTRAINT resources_rules CHECK (
            CASE kind WHEN 'STAY' THEN appointment IS NULL ELSE appointment IS NOT NULL AND stay IS NULL END
        )
    )
    """,
    "CREATE INDEX resources_of_tenant ON resources (tenant_id, resource_id)",
    "CREATE INDEX resources_of_vendor ON resources (vendor_id, resource_id)",
    """
    CREATE TABLE quotes (
        quote_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL,
        items jsonb NOT NULL,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL
    )
    """,
    "CREATE INDEX quotes_expire_time ON quotes (expire_time)",
)

# Reading under row security in one round trip: the tenant is an argument and set for the statement alone.
FUNCTIONS = (
    """
    CREATE FUNCTION read_resources(p_tenant text, p_resources text[]) RETURNS SETOF resources
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY SELECT * FROM resources r WHERE r.resource_id = ANY (p_resources);
    END $$
    """,
    """
    CREATE FUNCTION read_vendor(p_tenant text, p_vendor text) RETURNS SETOF vendors
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY SELECT * FROM vendors v WHERE v.vendor_id = p_vendor;
    END $$
    """,
    """
    CREATE FUNCTION read_quote(p_tenant text, p_quote text) RETURNS SETOF quotes
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY SELECT * FROM quotes q WHERE q.quote_id = p_quote;
    END $$
    """,
)


def upgrade() -> None:
    """Create them."""
    bind = op.get_bind()
    for statement in (*idempotency.CREATE_V1, *outbox.CREATE_V1, *TABLES):
        bind.exec_driver_sql(statement)
    for table in ("vendors", "resources", "quotes"):
        for statement in tenant_policy(table):
            bind.exec_driver_sql(statement)
    for statement in FUNCTIONS:
        bind.exec_driver_sql(statement)
