"""Creates holds, the claims they make, and the counters that refuse to oversell whoever writes.

A claim is what one item takes from a resource's grid of cells: nights, or 5 or 15 minutes of an appointment. Triggers
count living claims into `cells`, whose CHECK keeps `used` within `capacity`; so no path, not even psql, can oversell.
"""

from alembic import op

from services.chassis.db.rls import tenant_policy

TABLES = (
    """
    CREATE TABLE holds (
        hold_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL,
        booking_id text NOT NULL DEFAULT '',
        step text NOT NULL DEFAULT '',
        status text NOT NULL CONSTRAINT holds_status
            CHECK (status IN ('HELD', 'POSTED', 'VOIDED', 'RELEASED', 'EXPIRED', 'CANCELLED')),
        items jsonb NOT NULL,
        create_time timestamptz NOT NULL,
        placed_until timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX holds_of_booking ON holds (tenant_id, booking_id, step) WHERE booking_id <> ''",
    "CREATE INDEX holds_expiring ON holds (expire_time) WHERE status = 'HELD'",
    # No foreign key to holds: one statement alone writes both, and a check for each claim would cost a tenth of it.
    # `stray_claims` below finds what should not be.
    """
    CREATE TABLE claims (
        hold_id text NOT NULL,
        position integer NOT NULL,
        tenant_id text NOT NULL,
        resource_id text NOT NULL,
        first_cell integer NOT NULL,
        last_cell integer NOT NULL,
        quantity integer NOT NULL CONSTRAINT claims_quantity CHECK (quantity > 0),
        live boolean NOT NULL DEFAULT true,
        expire_time timestamptz NOT NULL,
        finish_time timestamptz NOT NULL,
        PRIMARY KEY (hold_id, position),
        CONSTRAINT claims_cells CHECK (first_cell <= last_cell)
    )
    """,
    # A living claim that is sold never expires: its time is infinity.
    "CREATE INDEX claims_living ON claims (resource_id, expire_time) WHERE live",
    """
    CREATE TABLE cells (
        resource_id text NOT NULL,
        cell integer NOT NULL,
        tenant_id text NOT NULL,
        used integer NOT NULL,
        capacity integer NOT NULL,
        PRIMARY KEY (resource_id, cell),
        CONSTRAINT cells_capacity CHECK (used >= 0 AND used <= capacity)
    ) WITH (fillfactor = 70)
    """,
    """
    CREATE TABLE hold_history (
        hold_id text NOT NULL,
        transition_time timestamptz NOT NULL,
        tenant_id text NOT NULL,
        from_status text NOT NULL,
        to_status text NOT NULL,
        booking_id text NOT NULL,
        PRIMARY KEY (hold_id, transition_time)
    )
    """,
)

TRIGGERS = (
    # A capacity that is missing, because the resource is, violates NOT NULL.
    """
    CREATE FUNCTION count_claims() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO cells AS counted (resource_id, cell, tenant_id, used, capacity)
        SELECT a.resource_id, g.cell, a.tenant_id, sum(a.quantity),
            (SELECT r.capacity FROM resources r WHERE r.resource_id = a.resource_id)
        FROM added a CROSS JOIN LATERAL generate_series(a.first_cell, a.last_cell) AS g(cell)
        WHERE a.live
        GROUP BY a.resource_id, g.cell, a.tenant_id
        ORDER BY a.resource_id, g.cell
        ON CONFLICT (resource_id, cell) DO UPDATE SET used = counted.used + excluded.used;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER claims_counted AFTER INSERT ON claims
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION count_claims()
    """,
    """
    CREATE FUNCTION free_cells() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        UPDATE cells SET used = used - OLD.quantity
        WHERE resource_id = OLD.resource_id AND cell BETWEEN OLD.first_cell AND OLD.last_cell;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER claims_freed AFTER UPDATE ON claims
    FOR EACH ROW WHEN (OLD.live AND NOT NEW.live) EXECUTE FUNCTION free_cells()
    """,
    """
    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = TG_ARGV[0];
    END $$
    """,
    """
    CREATE TRIGGER claims_fixed BEFORE UPDATE ON claims FOR EACH ROW
    WHEN (
        NEW.live AND NOT OLD.live
        OR (NEW.hold_id, NEW.resource_id, NEW.first_cell, NEW.last_cell, NEW.quantity)
            <> (OLD.hold_id, OLD.resource_id, OLD.first_cell, OLD.last_cell, OLD.quantity)
    )
    EXECUTE FUNCTION refuse_change('a claim never changes what it takes, and never comes back to life')
    """,
    """
    CREATE TRIGGER claims_kept BEFORE DELETE ON claims FOR EACH ROW
    WHEN (OLD.live) EXECUTE FUNCTION refuse_change('a living claim is not deleted')
    """,
    # Cells that lie wholly in the past keep the capacity that they were sold under.
    """
    CREATE FUNCTION current_cell(p_cell_minutes integer, p_now timestamptz) RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$
        SELECT floor(extract(epoch FROM p_now) / 60 / p_cell_minutes)::integer
            - CASE p_cell_minutes WHEN 1440 THEN 1 ELSE 0 END
    $$
    """,
    """
    CREATE FUNCTION spread_capacity() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        UPDATE cells SET capacity = NEW.capacity
        WHERE resource_id = NEW.resource_id AND cell >= current_cell(NEW.cell_minutes, clock_timestamp());
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER resources_capacity_spread AFTER UPDATE OF capacity ON resources
    FOR EACH ROW WHEN (OLD.capacity <> NEW.capacity) EXECUTE FUNCTION spread_capacity()
    """,
    """
    CREATE TRIGGER resources_grid_fixed BEFORE UPDATE ON resources FOR EACH ROW
    WHEN ((NEW.kind, NEW.time_zone, NEW.cell_minutes) <> (OLD.kind, OLD.time_zone, OLD.cell_minutes))
    EXECUTE FUNCTION refuse_change('a resource keeps its kind, zone and grid')
    """,
    """
    CREATE FUNCTION record_placed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO hold_history (hold_id, transition_time, tenant_id, from_status, to_status, booking_id)
        SELECT hold_id, update_time, tenant_id, '', status, booking_id FROM added;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER holds_placed AFTER INSERT ON holds
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION record_placed()
    """,
    """
    CREATE FUNCTION record_moved() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO hold_history (hold_id, transition_time, tenant_id, from_status, to_status, booking_id)
        VALUES (NEW.hold_id, NEW.update_time, NEW.tenant_id, OLD.status, NEW.status, NEW.booking_id);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER holds_moved AFTER UPDATE ON holds
    FOR EACH ROW WHEN (OLD.status <> NEW.status OR OLD.booking_id <> NEW.booking_id) EXECUTE FUNCTION record_moved()
    """,
    """
    CREATE TRIGGER holds_legal BEFORE UPDATE ON holds FOR EACH ROW
    WHEN (
        OLD.status <> NEW.status AND OLD.status <> 'HELD'
        AND (OLD.status, NEW.status) <> ('POSTED', 'CANCELLED')
    )
    EXECUTE FUNCTION refuse_change('a hold that has ended does not move')
    """,
)

# What must be empty, for auditors and tests: counters that differ from the living claims, or exceed the capacity.
VIEWS = (
    """
    CREATE VIEW miscounted_cells WITH (security_invoker = true) AS
    SELECT coalesce(c.resource_id, l.resource_id) AS resource_id, coalesce(c.cell, l.cell) AS cell,
        coalesce(c.used, 0) AS used, coalesce(l.quantity, 0) AS claimed, c.capacity
    FROM cells c
    FULL JOIN (
        SELECT k.resource_id, g.cell, sum(k.quantity)::integer AS quantity
        FROM claims k CROSS JOIN LATERAL generate_series(k.first_cell, k.last_cell) AS g(cell)
        WHERE k.live GROUP BY k.resource_id, g.cell
    ) l ON l.resource_id = c.resource_id AND l.cell = c.cell
    WHERE coalesce(c.used, 0) <> coalesce(l.quantity, 0) OR coalesce(l.quantity, 0) > coalesce(c.capacity, 0)
    """,
    """
    CREATE VIEW stray_claims WITH (security_invoker = true) AS
    SELECT k.hold_id, k.position, k.resource_id, h.status
    FROM claims k LEFT JOIN holds h USING (hold_id)
    WHERE h.hold_id IS NULL OR k.live AND (
        h.status NOT IN ('HELD', 'POSTED')
        OR k.expire_time IS DISTINCT FROM CASE h.status WHEN 'POSTED' THEN 'infinity' ELSE h.expire_time END
    )
    """,
)


def upgrade() -> None:
    """Create them."""
    bind = op.get_bind()
    for statement in TABLES:
        bind.exec_driver_sql(statement)
    for table in ("holds", "claims", "cells", "hold_history"):
        for statement in tenant_policy(table):
            bind.exec_driver_sql(statement)
    for statement in (*TRIGGERS, *VIEWS):
        bind.exec_driver_sql(statement)
