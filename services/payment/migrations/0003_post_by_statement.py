"""Guards the ledger once a statement instead of once a line, and writes all of a payment's entries in three statements.

All captures of a tenant move one clearing account. A foreign key would lock that account's row for each line, so that
payments that do not touch each other write the same page; the guard asks whether the account exists, and accounts stay.
"""

from alembic import op

GUARDS = (
    "DROP TRIGGER postings_balance ON postings",
    "DROP TRIGGER journal_entries_balance ON journal_entries",
    "DROP FUNCTION journal_balances()",
    "ALTER TABLE postings DROP CONSTRAINT postings_account_id_fkey",
    # The lines that one statement adds to an entry balance; so the entry does, whenever anybody looks.
    """
    CREATE FUNCTION postings_balance() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        odd bigint;
    BEGIN
        SELECT entry_id INTO odd FROM added GROUP BY entry_id, currency HAVING sum(amount_minor) <> 0 LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % does not balance', odd USING ERRCODE = 'check_violation';
        END IF;
        SELECT entry_id INTO odd FROM added LEFT JOIN accounts USING (account_id)
        WHERE (accounts.tenant_id, accounts.currency) IS DISTINCT FROM (added.tenant_id, added.currency) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'journal entry % moves what is no account of its tenant and currency', odd
                USING ERRCODE = 'foreign_key_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER postings_balance AFTER INSERT ON postings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION postings_balance()
    """,
    """
    CREATE FUNCTION journal_entry_moves() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM postings WHERE entry_id = NEW.entry_id) THEN
            RAISE EXCEPTION 'journal entry % does not balance: it has no lines', NEW.entry_id
                USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER journal_entries_move AFTER INSERT ON journal_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION journal_entry_moves()
    """,
    """
    CREATE TRIGGER accounts_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
    """,
)

SAVE = """
    CREATE OR REPLACE FUNCTION payment_save(
        p_tenant text, p_expected_version integer, p_payment jsonb, p_refunds jsonb, p_entries jsonb, p_events jsonb,
        OUT stored boolean, OUT cancel_wanted boolean
    ) LANGUAGE plpgsql AS $$
    DECLARE
        given payments := jsonb_populate_record(NULL::payments, p_payment);
        events bigint;
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
        IF p_refunds <> '[]' THEN
            INSERT INTO refunds (refund_id, tenant_id, payment_id, booking_id, step, currency, amount_minor, status,
                reason, provider_refund_id, attempt, attempt_time, create_time, update_time)
            SELECT refund_id, p_tenant, given.payment_id, given.booking_id, step, currency, amount_minor, status,
                reason, provider_refund_id, attempt, attempt_time, create_time, update_time
            FROM jsonb_populate_recordset(NULL::refunds, p_refunds)
            ON CONFLICT (refund_id) DO UPDATE SET
                status = excluded.status, provider_refund_id = excluded.provider_refund_id, attempt = excluded.attempt,
                attempt_time = excluded.attempt_time, update_time = excluded.update_time;
        END IF;
        IF p_entries <> '[]' THEN
            INSERT INTO accounts (account_id, tenant_id, kind, vendor_id, currency)
            SELECT account_id, p_tenant, line.kind, vendor_id, currency
            FROM jsonb_array_elements(p_entries) AS entry,
                jsonb_populate_recordset(NULL::accounts, entry -> 'lines') AS line
            ORDER BY account_id
            ON CONFLICT DO NOTHING;
            WITH made AS (
                INSERT INTO journal_entries (tenant_id, kind, booking_id, payment_id, refund_id, entry_time)
                SELECT p_tenant, entry ->> 'kind', given.booking_id, given.payment_id, entry ->> 'refund_id',
                    given.update_time
                FROM jsonb_array_elements(p_entries) AS entry
                RETURNING entry_id, kind, refund_id
            )
            INSERT INTO postings (entry_id, account_id, tenant_id, currency, amount_minor)
            SELECT made.entry_id, account_id, p_tenant, currency, amount_minor
            FROM made
            JOIN jsonb_array_elements(p_entries) AS entry ON entry ->> 'kind' = made.kind
                AND entry ->> 'refund_id' IS NOT DISTINCT FROM made.refund_id,
                jsonb_populate_recordset(NULL::postings, entry -> 'lines');
        END IF;
        IF p_events <> '[]' THEN
            INSERT INTO outbox (event_id, tenant_id, topic, key, type, payload, version, event_time, traceparent)
            SELECT event ->> 'event_id', p_tenant, event ->> 'topic', given.booking_id, event ->> 'type',
                decode(event ->> 'payload', 'base64'), events + position, given.update_time, event ->> 'traceparent'
            FROM jsonb_array_elements(p_events) WITH ORDINALITY AS listed (event, position);
            UPDATE booking_payments SET event_version = events + jsonb_array_length(p_events)
            WHERE booking_id = given.booking_id;
        END IF;
    END $$
"""


def upgrade() -> None:
    """Replace them."""
    for statement in (*GUARDS, SAVE):
        op.execute(statement)
