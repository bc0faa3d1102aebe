"""Creates the functions that move one hold, and those that only look, under the rule of the migration before."""

from alembic import op

FUNCTIONS = (
    # Moves one hold: EXTEND and RELEASE by its person, TAKE by a person's booking, POST, VOID and CANCEL by a booking.
    """
    CREATE FUNCTION move_hold(
        p_tenant text, p_verb text, p_hold_id text, p_user_id text, p_booking_id text, p_step text, p_ttl_ms bigint,
        p_longest_ms bigint
    ) RETURNS TABLE (
        o_outcome text, o_hold_id text, o_user_id text, o_booking_id text, o_status text, o_items jsonb,
        o_create_time timestamptz, o_expire_time timestamptz
    )
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_hold holds;
        v_now timestamptz;
        v_status text;
        v_new text;
        v_until timestamptz;
        v_by_booking boolean := p_booking_id <> '';
        v_id text := p_hold_id;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        IF v_by_booking THEN
            SELECT h.hold_id INTO v_id FROM holds h
            WHERE h.tenant_id = p_tenant AND h.booking_id = p_booking_id AND h.step = p_step AND h.booking_id <> '';
            IF v_id IS NULL AND p_verb = 'VOID' THEN
                -- Remembered, so that a hold asked for later keeps nothing; a hold placed meanwhile makes this fail on
                -- its unique key, and the caller asks again.
                v_now := clock_timestamp();
                INSERT INTO holds (
                    hold_id, tenant_id, user_id, booking_id, step, status, items, create_time, placed_until,
                    expire_time, update_time
                ) VALUES (
                    p_hold_id, p_tenant, '', p_booking_id, p_step, 'VOIDED', '[]', v_now, v_now, v_now, v_now
                );
                v_id := p_hold_id;
            ELSIF v_id IS NULL AND p_verb = 'TAKE' THEN
                v_id := p_hold_id;
            ELSIF p_verb = 'TAKE' THEN
                v_by_booking := false;  -- taken before: what is left is to answer it
            END IF;
        END IF;

        PERFORM FROM resources r
        WHERE r.resource_id IN (SELECT c.resource_id FROM claims c WHERE c.hold_id = v_id)
        ORDER BY r.resource_id COLLATE "C" FOR NO KEY UPDATE;
        SELECT h.* INTO v_hold FROM holds h WHERE h.hold_id = v_id FOR UPDATE;
        v_now := clock_timestamp();
        -- A tombstone is nobody's.
        IF v_hold.hold_id IS NULL OR p_user_id <> '' AND v_hold.user_id NOT IN ('', p_user_id) THEN
            RETURN QUERY SELECT 'NOT_FOUND', v_id, '', '', '', '[]'::jsonb, v_now, v_now;
            RETURN;
        END IF;

        v_status := v_hold.status;
        v_until := v_hold.expire_time;
        IF v_status = 'HELD' AND v_until <= v_now THEN
            v_status := 'EXPIRED';
        END IF;
        v_new := v_status;
        o_outcome := 'DONE';
        IF p_verb IN ('EXTEND', 'RELEASE') AND v_hold.booking_id <> '' THEN
            o_outcome := 'ENDED';
        ELSIF p_verb = 'TAKE' AND NOT v_by_booking THEN
            o_outcome := CASE WHEN v_status IN ('HELD', 'POSTED') THEN 'DONE' ELSE 'ENDED' END;
        ELSIF p_verb = 'TAKE' AND (v_status <> 'HELD' OR v_hold.booking_id <> '') THEN
            o_outcome := 'ENDED';
        ELSIF p_verb = 'TAKE' THEN
            v_until := v_now + p_ttl_ms * interval '1 millisecond';
        ELSIF p_verb = 'EXTEND' AND v_status <> 'HELD' THEN
            o_outcome := 'ENDED';
        ELSIF p_verb = 'EXTEND' THEN
            v_until := greatest(v_until, v_now + p_ttl_ms * interval '1 millisecond');
            IF v_until > v_hold.create_time + p_longest_ms * interval '1 millisecond' THEN
                o_outcome := 'TOO_LONG';
                v_until := v_hold.expire_time;
            END IF;
        ELSIF p_verb = 'RELEASE' THEN
            v_new := CASE v_status WHEN 'HELD' THEN 'RELEASED' ELSE v_status END;
        ELSIF p_verb = 'VOID' THEN
            v_new := CASE v_status WHEN 'HELD' THEN 'VOIDED' ELSE v_status END;
            o_outcome := CASE v_status WHEN 'POSTED' THEN 'ENDED' ELSE 'DONE' END;
        ELSIF p_verb = 'POST' THEN
            v_new := CASE v_status WHEN 'HELD' THEN 'POSTED' ELSE v_status END;
            o_outcome := CASE v_new WHEN 'POSTED' THEN 'DONE' ELSE 'ENDED' END;
        ELSE
            v_new := CASE v_status WHEN 'POSTED' THEN 'CANCELLED' ELSE v_status END;
            o_outcome := CASE v_new WHEN 'CANCELLED' THEN 'DONE' ELSE 'ENDED' END;
        END IF;

        IF v_new <> v_hold.status OR v_until <> v_hold.expire_time OR v_by_booking AND p_verb = 'TAKE' AND
            o_outcome = 'DONE'
        THEN
            UPDATE holds h SET
                status = v_new, expire_time = v_until, update_time = v_now,
                booking_id = CASE WHEN p_verb = 'TAKE' AND o_outcome = 'DONE' THEN p_booking_id ELSE h.booking_id END,
                step = CASE WHEN p_verb = 'TAKE' AND o_outcome = 'DONE' THEN p_step ELSE h.step END
            WHERE h.hold_id = v_id;
            UPDATE claims c SET
                live = v_new IN ('HELD', 'POSTED'),
                expire_time = CASE v_new WHEN 'POSTED' THEN 'infinity' ELSE v_until END
            WHERE c.hold_id = v_id AND c.live;
        END IF;
        RETURN QUERY
        SELECT o_outcome, h.hold_id, h.user_id, h.booking_id, h.status, h.items, h.create_time, h.expire_time
        FROM holds h WHERE h.hold_id = v_id;
    END $$
    """,
    # What a booking's step, or a key, got before: for orders that could no longer be placed.
    """
    CREATE FUNCTION read_placed(
        p_tenant text, p_booking_id text, p_step text, p_principal text, p_method text, p_key text
    ) RETURNS TABLE (o_hold_id text, o_request_hash bytea)
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY
        SELECT h.hold_id, NULL::bytea FROM holds h
        WHERE h.tenant_id = p_tenant AND h.booking_id = p_booking_id AND h.step = p_step AND h.booking_id <> ''
        UNION ALL
        SELECT i.resource_id, i.request_hash FROM idempotency i
        WHERE i.tenant_id = p_tenant AND i.principal = p_principal AND i.method = p_method AND i.key = p_key;
    END $$
    """,
    """
    CREATE FUNCTION read_hold(p_tenant text, p_hold_id text) RETURNS TABLE (
        o_hold_id text, o_user_id text, o_booking_id text, o_status text, o_items jsonb, o_create_time timestamptz,
        o_placed_until timestamptz, o_expire_time timestamptz
    )
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY
        SELECT h.hold_id, h.user_id, h.booking_id, CASE WHEN h.status = 'HELD' AND h.expire_time <= clock_timestamp()
            THEN 'EXPIRED' ELSE h.status END, h.items, h.create_time, h.placed_until, h.expire_time
        FROM holds h WHERE h.hold_id = p_hold_id;
    END $$
    """,
    # What is held or sold in a range of cells; what expired holds still claim does not count.
    """
    CREATE FUNCTION read_occupancy(p_tenant text, p_resource text, p_first integer, p_last integer)
    RETURNS TABLE (o_now timestamptz, o_version bigint, o_cells integer[], o_used integer[])
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_now timestamptz := clock_timestamp();
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY
        SELECT v_now, (SELECT r.version FROM resources r WHERE r.resource_id = p_resource),
            array_agg(u.cell), array_agg(u.used)
        FROM (
            SELECT c.cell, c.used - coalesce((
                SELECT sum(k.quantity)::integer FROM claims k
                WHERE k.resource_id = p_resource AND k.live AND k.expire_time <= v_now
                    AND c.cell BETWEEN k.first_cell AND k.last_cell
            ), 0) AS used
            FROM cells c
            WHERE c.resource_id = p_resource AND c.cell BETWEEN p_first AND p_last AND c.used > 0
        ) u WHERE u.used > 0;
    END $$
    """,
)


def upgrade() -> None:
    """Create them."""
    bind = op.get_bind()
    for statement in FUNCTIONS:
        bind.exec_driver_sql(statement)
