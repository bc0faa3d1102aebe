"""Creates the delivery log, the in-app inbox, and the one step from an event to a queued message."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency import store as idempotency
from services.chassis.inbox import table as inbox

TABLES = (
    """
    CREATE TABLE deliveries (
        delivery_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        event_id text NOT NULL,
        user_id text NOT NULL,
        channel text NOT NULL,
        kind text NOT NULL,
        urgent boolean NOT NULL,
        booking_id text NOT NULL,
        challenge_id text NOT NULL,
        refund_currency text,
        refund_minor bigint,
        expire_time timestamptz,
        status text NOT NULL
            CONSTRAINT deliveries_status_check CHECK (status IN ('QUEUED', 'SENT', 'FAILED', 'DROPPED')),
        attempts integer NOT NULL,
        last_error text NOT NULL,
        create_time timestamptz NOT NULL,
        next_try_time timestamptz NOT NULL,
        sent_time timestamptz,
        -- A person is told of an event once.
        CONSTRAINT deliveries_once_key UNIQUE (event_id, user_id, channel),
        CONSTRAINT deliveries_sent_check CHECK ((status = 'SENT') = (sent_time IS NOT NULL))
    )
    """,
    "CREATE INDEX deliveries_due ON deliveries (urgent DESC, next_try_time) WHERE status = 'QUEUED'",
    "CREATE INDEX deliveries_newest ON deliveries (tenant_id, delivery_id DESC)",
    "CREATE INDEX deliveries_create_time ON deliveries (create_time)",
    *tenant_policy("deliveries"),
    """
    CREATE TABLE notifications (
        notification_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL,
        event_id text NOT NULL,
        kind text NOT NULL,
        title text NOT NULL,
        body text NOT NULL,
        booking_id text NOT NULL,
        create_time timestamptz NOT NULL,
        read_time timestamptz,
        CONSTRAINT notifications_once_key UNIQUE (event_id, user_id)
    )
    """,
    "CREATE INDEX notifications_newest ON notifications (tenant_id, user_id, notification_id DESC)",
    "CREATE INDEX notifications_create_time ON notifications (create_time)",
    *tenant_policy("notifications"),
)

# One round trip for each event: it sets the tenant for itself, notes the event and queues the message. It runs with its
# caller's rights, so row security applies.
QUEUE_DELIVERY = """
    CREATE FUNCTION queue_delivery(
        p_consumer text, p_event_type text, p_topic text, p_key text, p_version bigint, p_at timestamptz,
        p_delivery_id text, p_tenant_id text, p_event_id text, p_user_id text, p_kind text, p_urgent boolean,
        p_booking_id text, p_challenge_id text, p_refund_currency text, p_refund_minor bigint, p_expire_time timestamptz
    ) RETURNS text LANGUAGE plpgsql SECURITY INVOKER AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant_id, true);
        INSERT INTO inbox (consumer, event_id, type, apply_time)
            VALUES (p_consumer, p_event_id, p_event_type, p_at) ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN 'REPEATED';
        END IF;
        INSERT INTO inbox_version AS seen (consumer, topic, key, version, apply_time)
            VALUES (p_consumer, p_topic, p_key, p_version, p_at)
            ON CONFLICT (consumer, topic, key) DO UPDATE
            SET version = excluded.version, apply_time = excluded.apply_time WHERE seen.version < excluded.version;
        IF NOT FOUND THEN
            RETURN 'STALE';
        END IF;
        INSERT INTO deliveries (
            delivery_id, tenant_id, event_id, user_id, channel, kind, urgent, booking_id, challenge_id,
            refund_currency, refund_minor, expire_time, status, attempts, last_error, create_time, next_try_time
        ) VALUES (
            p_delivery_id, p_tenant_id, p_event_id, p_user_id, 'email', p_kind, p_urgent, p_booking_id, p_challenge_id,
            p_refund_currency, p_refund_minor, p_expire_time, 'QUEUED', 0, '', p_at, p_at
        ) ON CONFLICT ON CONSTRAINT deliveries_once_key DO NOTHING;
        RETURN 'QUEUED';
    END
    $$
"""


def upgrade() -> None:
    """Create them."""
    for statement in (*TABLES, *inbox.CREATE_V1, *idempotency.CREATE_V1, QUEUE_DELIVERY):
        op.execute(statement)
