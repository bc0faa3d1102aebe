"""Payments, refunds, the double-entry ledger, the provider's events, and the two functions that write hot paths."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency.store import CREATE_V1 as IDEMPOTENCY
from services.chassis.outbox.table import CREATE_V1 as OUTBOX

TABLES = (
    # One row a booking: the lock that orders everything about its money, its events' versions, and whether it is over.
    """
    CREATE TABLE booking_payments (
        booking_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        event_version bigint NOT NULL DEFAULT 0,
        cancel_time timestamptz
    )
    """,
    """
    CREATE TABLE payments (
        payment_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        booking_id text NOT NULL REFERENCES booking_payments,
        step text NOT NULL,
        user_id text NOT NULL,
        vendor_id text NOT NULL,
        currency text NOT NULL,
        amount_minor bigint NOT NULL,
        captured_minor bigint NOT NULL DEFAULT 0,
        refunded_minor bigint NOT NULL DEFAULT 0,
        fee_currency text,
        fee_minor bigint,
        manual_capture boolean NOT NULL,
        status text NOT NULL,
        last_error text NOT NULL DEFAULT '',
        provider_intent_id text CONSTRAINT payments_provider_intent_id_key UNIQUE,
        provider_charge_id text NOT NULL DEFAULT '',
        attempt integer NOT NULL DEFAULT 0,
        attempt_time timestamptz NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        version integer NOT NULL,
        check_time timestamptz,
        check_count integer NOT NULL DEFAULT 0,
        CONSTRAINT payments_booking_id_step_key UNIQUE (booking_id, step),
        CONSTRAINT payments_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT payments_refunds_covered CHECK (refunded_minor BETWEEN 0 AND captured_minor),
        CONSTRAINT payments_status_known CHECK (status IN ('PROCESSING', 'REQUIRES_PAYMENT_METHOD', 'REQUIRES_ACTION',
            'REQUIRES_CAPTURE', 'SUCCEEDED', 'CANCELLED'))
    )
    """,
    "CREATE INDEX payments_check_time ON payments (check_time) WHERE check_time IS NOT NULL",
    """
    CREATE TABLE refunds (
        refund_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        payment_id text NOT NULL REFERENCES payments,
        booking_id text NOT NULL,
        step text NOT NULL,
        currency text NOT NULL,
        amount_minor bigint NOT NULL,
        status text NOT NULL,
        reason text NOT NULL,
        provider_refund_id text CONSTRAINT refunds_provider_refund_id_key UNIQUE,
        attempt integer NOT NULL DEFAULT 0,
        attempt_time timestamptz NOT NULL,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        CONSTRAINT refunds_booking_id_step_key UNIQUE (booking_id, step),
        CONSTRAINT refunds_amount_positive CHECK (amount_minor > 0),
        CONSTRAINT refunds_status_known CHECK (status IN ('PENDING', 'SUCCEEDED', 'FAILED'))
    )
    """,
    "CREATE INDEX refunds_payment_id ON refunds (payment_id)",
    """
    CREATE TABLE accounts (
        account_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        kind text NOT NULL,
        vendor_id text NOT NULL,
        currency text NOT NULL,
        CONSTRAINT accounts_kind_known CHECK (kind IN ('PROVIDER_CLEARING', 'PROVIDER_FEES', 'VENDOR_PAYABLE')),
        CONSTRAINT accounts_vendor_named CHECK ((kind = 'VENDOR_PAYABLE') = (vendor_id <> ''))
    )
    """,
    """
    CREATE TABLE journal_entries (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant_id text NOT NULL,
        kind text NOT NULL,
        booking_id text NOT NULL,
        payment_id text NOT NULL REFERENCES payments,
        refund_id text REFERENCES refunds,
        entry_time timestamptz NOT NULL,
        CONSTRAINT journal_entries_once UNIQUE NULLS NOT DISTINCT (payment_id, kind, refund_id),
        CONSTRAINT journal_entries_kind_known CHECK (kind IN ('CAPTURE', 'FEE', 'REFUND', 'REFUND_FAILURE'))
    )
    """,
    """
    CREATE TABLE postings (
        entry_id bigint NOT NULL REFERENCES journal_entries,
        account_id text NOT NULL REFERENCES accounts,
        tenant_id text NOT NULL,
        currency text NOT NULL,
        amount_minor bigint NOT NULL,
        PRIMARY KEY (entry_id, account_id),
        CONSTRAINT postings_move_something CHECK (amount_minor <> 0)
    )
    """,
    "CREATE INDEX postings_account_id ON postings (account_id) INCLUDE (amount_minor)",
    # No payload: it carries the client secret and personal data, and the provider's object is read again anyway.
    """
    CREATE TABLE provider_events (
        event_id text PRIMARY KEY,
        type text NOT NULL,
        object_id text NOT NULL,
        intent_id text NOT NULL,
        payment_id text NOT NULL,
        state text NOT NULL,
        create_time timestamptz NOT NULL,
        receive_time timestamptz NOT NULL,
        due_time timestamptz NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        apply_time timestamptz,
        CONSTRAINT provider_events_state_known CHECK (state IN ('WAITING', 'APPLIED', 'KEPT'))
    )
    """,
    "CREATE INDEX provider_events_waiting ON provider_events (due_time) WHERE state = 'WAITING'",
    "CREATE INDEX provider_events_receive_time ON provider_events (receive_time)",
)

TENANT_TABLES = ("booking_payments", "payments", "refunds", "accounts", "journal_entries", "postings")

GUARDS = (
    # Checked at commit, when an entry has all of its lines.
    """
    CREATE FUNCTION journal_balances() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF (SELECT count(*) FROM postings WHERE entry_id = NEW.entry_id) < 2 OR EXISTS (
            SELECT FROM postings WHERE entry_id = NEW.entry_id GROUP BY currency HAVING sum(amount_minor) <> 0
        ) THEN
            RAISE EXCEPTION 'journal entry % does not balance', NEW.entry_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER journal_entries_balance AFTER INSERT ON journal_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_balances()
    """,
    """
    CREATE CONSTRAINT TRIGGER postings_balance AFTER INSERT ON postings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_balances()
    """,
    """
    CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER journal_entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
    """
    CREATE TRIGGER postings_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
    # Money that was captured stays captured.
    """
    CREATE FUNCTION payments_go_forward() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.captured_minor < OLD.captured_minor OR NEW.version < OLD.version
            OR (OLD.status = 'SUCCEEDED' AND NEW.status <> 'SUCCEEDED') THEN
            RAISE EXCEPTION 'payment % would go backwards', NEW.payment_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER payments_go_forward BEFORE UPDATE ON payments
    FOR EACH ROW EXECUTE FUNCTION payments_go_forward()
    """,
)

BALANCES = """
    CREATE VIEW account_balances WITH (security_invoker = true) AS
    SELECT account_id, a.tenant_id, a.kind, a.vendor_id, a.currency,
           coalesce(sum(p.amount_minor), 0)::bigint AS balance_minor
    FROM accounts a LEFT JOIN postings p USING (account_id)
    GROUP BY account_id
"""

# Both functions set the tenant for their own transaction and then act under row security: one round trip each.
# Lock order, everywhere: the booking's row, then its payments.
START = """
    CREATE FUNCTION payment_start(p_tenant text, p_payment jsonb) RETURNS SETOF payments LANGUAGE plpgsql AS $$
    DECLARE
        given payments := jsonb_populate_record(NULL::payments, p_payment);
        over timestamptz;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        INSERT INTO booking_payments (booking_id, tenant_id) VALUES (given.booking_id, p_tenant)
        ON CONFLICT DO NOTHING;
        SELECT cancel_time INTO over FROM booking_payments WHERE booking_id = given.booking_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;  -- the booking is another tenant's
        END IF;
        INSERT INTO payments (payment_id, tenant_id, booking_id, step, user_id, vendor_id, currency, amount_minor,
            manual_capture, status, attempt_time, create_time, update_time, version, check_time)
        VALUES (given.payment_id, p_tenant, given.booking_id, given.step, given.user_id, given.vendor_id,
            given.currency, given.amount_minor, given.manual_capture,
            CASE WHEN over IS NULL THEN given.status ELSE 'CANCELLED' END,
            given.attempt_time, given.create_time, given.update_time, given.version,
            CASE WHEN over IS NULL THEN given.check_time END)
        ON CONFLICT (booking_id, step) DO NOTHING;
        RETURN QUERY SELECT * FROM payments WHERE booking_id = given.booking_id AND step = given.step;
    END $$
"""

SAVE = """
    CREATE FUNCTION payment_save(
        p_tenant text, p_expected_version integer, p_payment jsonb, p_refunds jsonb, p_entries jsonb, p_events jsonb,
        OUT stored boolean, OUT cancel_wanted boolean
    ) LANGUAGE plpgsql AS $$
    DECLARE
        given payments := jsonb_populate_record(NULL::payments, p_payment);
        events bigint;
        entry jsonb;
        entry_number bigint;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        SELECT event_version, cancel_time IS NOT NULL INTO events, cancel_wanted
        FROM booking_payments WHERE booking_id = given.booking_id FOR UPDATE;
        UPDATE payments SET
            status = given.status, captured_minor = given.captured_minor, refunded_minor = given.refunded_minor,
            fee_currency = given.fee_currency, fee_minor = given.fee_minor, last_error = given.last_error,
            provider_intent_id = given.provider_intent_id, provider_charge_id = given.provider_charge_id,
            attempt = given.attempt, attempt_time = given.attempt_time, update_time = given.update_time,
            version = given.version, check_time = given.check_time, check_count = 0
        WHERE payment_id = given.payment_id AND version = p_expected_version;
        stored := FOUND;
        IF NOT stored THEN
            RETURN;
        END IF;
        INSERT INTO refunds (refund_id, tenant_id, payment_id, booking_id, step, currency, amount_minor, status,
            reason, provider_refund_id, attempt, attempt_time, create_time, update_time)
        SELECT refund_id, p_tenant, given.payment_id, given.booking_id, step, currency, amount_minor, status,
            reason, provider_refund_id, attempt, attempt_time, create_time, update_time
        FROM jsonb_populate_recordset(NULL::refunds, p_refunds)
        ON CONFLICT (refund_id) DO UPDATE SET
            status = excluded.status, provider_refund_id = excluded.provider_refund_id, attempt = excluded.attempt,
            attempt_time = excluded.attempt_time, update_time = excluded.update_time;
        FOR entry IN SELECT * FROM jsonb_array_elements(p_entries) LOOP
            INSERT INTO accounts (account_id, tenant_id, kind, vendor_id, currency)
            SELECT account_id, p_tenant, kind, vendor_id, currency
            FROM jsonb_populate_recordset(NULL::accounts, entry -> 'lines')
            ON CONFLICT DO NOTHING;
            INSERT INTO journal_entries (tenant_id, kind, booking_id, payment_id, refund_id, entry_time)
            VALUES (p_tenant, entry ->> 'kind', given.booking_id, given.payment_id, entry ->> 'refund_id',
                given.update_time)
            RETURNING entry_id INTO entry_number;
            INSERT INTO postings (entry_id, account_id, tenant_id, currency, amount_minor)
            SELECT entry_number, account_id, p_tenant, currency, amount_minor
            FROM jsonb_populate_recordset(NULL::postings, entry -> 'lines');
        END LOOP;
        INSERT INTO outbox (event_id, tenant_id, topic, key, type, payload, version, event_time, traceparent)
        SELECT event ->> 'event_id', p_tenant, event ->> 'topic', given.booking_id, event ->> 'type',
            decode(event ->> 'payload', 'base64'), events + position, given.update_time, event ->> 'traceparent'
        FROM jsonb_array_elements(p_events) WITH ORDINALITY AS listed (event, position);
        IF FOUND THEN
            UPDATE booking_payments SET event_version = events + jsonb_array_length(p_events)
            WHERE booking_id = given.booking_id;
        END IF;
    END $$
"""


def upgrade() -> None:
    for statement in (*TABLES, *GUARDS, BALANCES, *OUTBOX, *IDEMPOTENCY):
        op.execute(statement)
    for table in TENANT_TABLES:
        for statement in tenant_policy(table):
            op.execute(statement)
    for statement in (START, SAVE):
        op.execute(statement)
