"""Bookings, their history, which no statement can bend, and the chassis's tables."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency import store
from services.chassis.inbox import table as inbox
from services.chassis.outbox import table as outbox

_TABLES = (
    """
    CREATE TABLE bookings (
        booking_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL,
        vendor_id text NOT NULL DEFAULT '',
        status text NOT NULL,
        status_actor text NOT NULL,
        status_reason text NOT NULL,
        version integer NOT NULL,
        confirmation_code text NOT NULL,
        asked jsonb NOT NULL,
        items jsonb NOT NULL DEFAULT '[]',
        currency text NOT NULL DEFAULT '',
        total_minor bigint,
        first_name text NOT NULL,
        last_name text NOT NULL,
        email text NOT NULL,
        phone text NOT NULL,
        payment_method text NOT NULL,
        payment_token text NOT NULL DEFAULT '',
        payment_id text NOT NULL DEFAULT '',
        payment_status text,
        payment_error text NOT NULL DEFAULT '',
        payment_version integer NOT NULL DEFAULT 0,
        refund_id text NOT NULL DEFAULT '',
        refund_minor bigint NOT NULL DEFAULT 0,
        refund_status text,
        cancel_reason text NOT NULL DEFAULT '',
        failure_reason text NOT NULL DEFAULT '',
        failure_details jsonb NOT NULL DEFAULT '{}',
        step text NOT NULL,
        hold_step text NOT NULL,
        ending_status text,
        ending_actor text NOT NULL DEFAULT '',
        ending_reason text NOT NULL DEFAULT '',
        run_time timestamptz,
        attempts integer NOT NULL DEFAULT 0,
        idempotency_key text[],
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        payment_due_time timestamptz NOT NULL,
        confirm_time timestamptz,
        cancel_time timestamptz,
        CONSTRAINT bookings_confirmation_code UNIQUE (tenant_id, confirmation_code),
        CONSTRAINT bookings_status CHECK (status IN ('PENDING', 'CONFIRMED', 'FAILED', 'EXPIRED', 'CANCELLED')),
        CONSTRAINT bookings_version CHECK (version > 0),
        -- A refund never exceeds the price, and what never came about has no price to give back.
        CONSTRAINT bookings_refund CHECK (refund_minor BETWEEN 0 AND coalesce(total_minor, 0)),
        -- Sold is only what is priced, and paid unless it costs nothing.
        CONSTRAINT bookings_confirmed_is_paid CHECK (
            status <> 'CONFIRMED' OR (confirm_time IS NOT NULL AND coalesce(total_minor, -1) >= 0
                AND (total_minor = 0 OR coalesce(payment_status, '') = 'SUCCEEDED'))
        ),
        -- An ended booking is decided; a worker that is to do something knows when.
        CONSTRAINT bookings_ended CHECK (status = 'PENDING' OR ending_status IS NULL),
        CONSTRAINT bookings_run CHECK ((step = 'DONE') = (run_time IS NULL))
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX bookings_run_time ON bookings (run_time) WHERE run_time IS NOT NULL",
    "CREATE INDEX bookings_user ON bookings (tenant_id, user_id, booking_id)",
    "CREATE INDEX bookings_vendor ON bookings (tenant_id, vendor_id, booking_id)",
    *tenant_policy("bookings"),
    """
    CREATE TABLE booking_history (
        booking_id text NOT NULL,
        version integer NOT NULL,
        tenant_id text NOT NULL,
        from_status text,
        to_status text NOT NULL,
        actor text NOT NULL,
        reason text NOT NULL,
        transition_time timestamptz NOT NULL,
        PRIMARY KEY (booking_id, version),
        CONSTRAINT booking_history_legal CHECK (
            coalesce(from_status, '') || '>' || to_status IN (
                '>PENDING', 'PENDING>CONFIRMED', 'PENDING>FAILED', 'PENDING>EXPIRED', 'PENDING>CANCELLED',
                'CONFIRMED>CANCELLED'
            )
        )
    )
    """,
    *tenant_policy("booking_history"),
)

# Every change of a status is in the history because the change itself writes it, whoever makes it; one that is not in
# the transition table fails there, and takes the change with it.
_HISTORY = (
    """
    CREATE FUNCTION record_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO booking_history
            (booking_id, version, tenant_id, from_status, to_status, actor, reason, transition_time)
        VALUES (
            NEW.booking_id, NEW.version, NEW.tenant_id, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status,
            NEW.status_actor, NEW.status_reason, NEW.update_time
        );
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER bookings_created AFTER INSERT ON bookings
        FOR EACH ROW EXECUTE FUNCTION record_transition()
    """,
    """
    CREATE TRIGGER bookings_moved AFTER UPDATE OF status ON bookings
        FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION record_transition()
    """,
    """
    CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'The history of a booking is not rewritten.' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER booking_history_stays BEFORE UPDATE OR DELETE ON booking_history
        FOR EACH ROW EXECUTE FUNCTION refuse_rewriting()
    """,
)

# The hot paths: one round trip each. Row security applies, so each sets the tenant that it acts for.
_CREATE_BOOKING = """
    CREATE FUNCTION create_booking(
        p_row jsonb, p_principal text, p_method text, p_key text, p_request_hash bytea,
        p_event_id text, p_topic text, p_type text, p_payload bytea, p_traceparent text
    ) RETURNS TABLE (booking_id text, request_hash bytea) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
        asked bookings;
    BEGIN
        PERFORM set_config('berth.tenant', p_row ->> 'tenant_id', true);
        asked := jsonb_populate_record(NULL::bookings, p_row);
        IF p_key IS NOT NULL THEN
            INSERT INTO idempotency (tenant_id, principal, method, key, request_hash, resource_id, create_time)
            VALUES (
                asked.tenant_id, p_principal, p_method, p_key, p_request_hash, asked.booking_id, asked.create_time
            )
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RETURN QUERY
                SELECT taken.resource_id, taken.request_hash FROM idempotency taken
                WHERE taken.tenant_id = asked.tenant_id AND taken.principal = p_principal
                    AND taken.method = p_method AND taken.key = p_key;
                RETURN;
            END IF;
        END IF;
        INSERT INTO bookings (
            booking_id, tenant_id, user_id, status, status_actor, status_reason, version, confirmation_code, asked,
            first_name, last_name, email, phone, payment_method, payment_token, step, hold_step, run_time,
            idempotency_key, create_time, update_time, payment_due_time
        ) VALUES (
            asked.booking_id, asked.tenant_id, asked.user_id, asked.status, asked.status_actor, asked.status_reason,
            asked.version, asked.confirmation_code, asked.asked, asked.first_name, asked.last_name, asked.email,
            asked.phone, asked.payment_method, asked.payment_token, asked.step, asked.hold_step, asked.run_time,
            CASE WHEN p_key IS NOT NULL THEN ARRAY[p_principal, p_method, p_key] END,
            asked.create_time, asked.update_time, asked.payment_due_time
        );
        INSERT INTO outbox (event_id, tenant_id, topic, key, type, payload, version, event_time, traceparent)
        VALUES (
            p_event_id, asked.tenant_id, p_topic, asked.booking_id, p_type, p_payload, asked.version,
            asked.update_time, p_traceparent
        );
        RETURN QUERY SELECT asked.booking_id, NULL::bytea;
    END $$
"""

_SAVE_BOOKING = """
    CREATE FUNCTION save_booking(
        p_tenant text, p_booking text, p_version integer, p_changes jsonb,
        p_event_id text, p_topic text, p_type text, p_payload bytea, p_traceparent text
    ) RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        found_row bookings;
        next_row bookings;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        SELECT * INTO found_row FROM bookings WHERE booking_id = p_booking AND version = p_version FOR UPDATE;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        next_row := jsonb_populate_record(found_row, p_changes);
        UPDATE bookings SET
            vendor_id = next_row.vendor_id,
            status = next_row.status,
            status_actor = next_row.status_actor,
            status_reason = next_row.status_reason,
            version = p_version + 1,
            items = next_row.items,
            currency = next_row.currency,
            total_minor = next_row.total_minor,
            payment_token = next_row.payment_token,
            payment_id = next_row.payment_id,
            payment_status = next_row.payment_status,
            payment_error = next_row.payment_error,
            payment_version = next_row.payment_version,
            refund_id = next_row.refund_id,
            refund_minor = next_row.refund_minor,
            refund_status = next_row.refund_status,
            cancel_reason = next_row.cancel_reason,
            failure_reason = next_row.failure_reason,
            failure_details = next_row.failure_details,
            step = next_row.step,
            hold_step = next_row.hold_step,
            ending_status = next_row.ending_status,
            ending_actor = next_row.ending_actor,
            ending_reason = next_row.ending_reason,
            run_time = next_row.run_time,
            attempts = next_row.attempts,
            update_time = next_row.update_time,
            confirm_time = next_row.confirm_time,
            cancel_time = next_row.cancel_time
        WHERE booking_id = p_booking;
        IF p_event_id IS NOT NULL THEN
            INSERT INTO outbox (event_id, tenant_id, topic, key, type, payload, version, event_time, traceparent)
            VALUES (
                p_event_id, p_tenant, p_topic, p_booking, p_type, p_payload, p_version + 1, next_row.update_time,
                p_traceparent
            );
        END IF;
        -- What never came about leaves its key free for another try.
        IF next_row.failure_reason <> '' AND found_row.failure_reason = '' AND found_row.idempotency_key IS NOT NULL
        THEN
            DELETE FROM idempotency
            WHERE tenant_id = p_tenant AND principal = found_row.idempotency_key[1]
                AND method = found_row.idempotency_key[2] AND key = found_row.idempotency_key[3]
                AND resource_id = p_booking;
        END IF;
        RETURN true;
    END $$
"""

_READ_BOOKING = """
    CREATE FUNCTION read_booking(p_tenant text, p_booking text) RETURNS SETOF bookings LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY SELECT * FROM bookings WHERE booking_id = p_booking;
    END $$
"""


def upgrade() -> None:
    """Create them."""
    chassis = (*outbox.CREATE_V1, *inbox.CREATE_V1, *store.CREATE_V1)
    for statement in (*chassis, *_TABLES, *_HISTORY, _CREATE_BOOKING, _SAVE_BOOKING, _READ_BOOKING):
        op.execute(statement)
