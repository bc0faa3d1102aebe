"""Creates the functions that place and expire holds, each a transaction in one statement.

One rule keeps them free of races and deadlocks: whoever changes a hold or its claims has first locked the rows of all
the hold's resources, in the order of their ids; where several holds end together, they too are locked in that order.
Time is read after the locks, from the database alone. A hold that is HELD but past its time keeps nothing.
"""

from alembic import op

FUNCTIONS = (
    # Frees what expired holds still claim of resources that the caller has locked, and marks holds that claim nothing.
    """
    CREATE FUNCTION end_expired(p_resources text[], p_now timestamptz) RETURNS integer
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_holds text[];
        v_ended integer;
    BEGIN
        SELECT array_agg(DISTINCT c.hold_id) INTO v_holds FROM claims c
        WHERE c.resource_id = ANY (p_resources) AND c.live AND c.expire_time <= p_now;
        IF v_holds IS NULL THEN
            RETURN 0;
        END IF;
        PERFORM FROM holds h WHERE h.hold_id = ANY (v_holds) ORDER BY h.hold_id FOR UPDATE;
        UPDATE claims SET live = false
        WHERE resource_id = ANY (p_resources) AND live AND expire_time <= p_now;
        UPDATE holds h SET status = 'EXPIRED', update_time = p_now
        WHERE h.hold_id = ANY (v_holds) AND h.status = 'HELD'
            AND NOT EXISTS (SELECT FROM claims c WHERE c.hold_id = h.hold_id AND c.live);
        GET DIAGNOSTICS v_ended = ROW_COUNT;
        RETURN v_ended;
    END $$
    """,
    """
    CREATE FUNCTION expire_holds_of(p_resource text) RETURNS integer
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_now timestamptz;
        v_freed text[];
        v_ended integer;
        v_marked integer := 0;
    BEGIN
        PERFORM FROM resources r WHERE r.resource_id = p_resource FOR NO KEY UPDATE;
        v_now := clock_timestamp();
        v_ended := end_expired(ARRAY[p_resource], v_now);
        -- Two statements that each freed one resource of a hold did not see each other: nobody marked it.
        SELECT array_agg(h.hold_id) INTO v_freed FROM holds h
        WHERE h.status = 'HELD' AND h.expire_time <= v_now
            AND EXISTS (SELECT FROM claims c WHERE c.hold_id = h.hold_id AND c.resource_id = p_resource)
            AND NOT EXISTS (SELECT FROM claims c WHERE c.hold_id = h.hold_id AND c.live);
        IF v_freed IS NOT NULL THEN
            PERFORM FROM holds h WHERE h.hold_id = ANY (v_freed) ORDER BY h.hold_id FOR UPDATE;
            UPDATE holds SET status = 'EXPIRED', update_time = v_now
            WHERE hold_id = ANY (v_freed) AND status = 'HELD';
            GET DIAGNOSTICS v_marked = ROW_COUNT;
        END IF;
        RETURN v_ended + v_marked;
    END $$
    """,
    # Decides several orders, first come first served, in the order given. `p_orders` is an array of objects; claims
    # come as parallel arrays, grouped by order. The cells that are asked for are listed once each, sorted, in p_grid_*;
    # a claim names its stretch of that list, so that the decision runs over one array of free units.
    """
    CREATE FUNCTION place_holds(
        p_tenant text, p_resources text[], p_grid_resource integer[], p_grid_cell integer[], p_orders jsonb,
        p_claim_order integer[], p_claim_resource integer[], p_claim_version bigint[], p_claim_low integer[],
        p_claim_high integer[], p_claim_quantity integer[], p_claim_until timestamptz[], p_claim_finish timestamptz[]
    ) RETURNS TABLE (
        o_place integer, o_outcome text, o_available integer, o_resource text, o_now timestamptz, o_hold_id text,
        o_user_id text, o_booking_id text, o_status text, o_items jsonb, o_create_time timestamptz,
        o_placed_until timestamptz, o_expire_time timestamptz
    )
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_row record;
        v_now timestamptz;
        v_at integer;
        v_capacity integer[];
        v_version bigint[];
        v_free integer[];
        v_outcome text[];
        v_hold text[];
        v_until timestamptz[];
        v_available integer[];
        v_blocker integer[];
        v_keyed boolean := false;
        v_placed boolean := false;
        v_verdict text;
        v_first integer;
        v_claim integer := 1;
        v_least integer;
        v_claims integer := cardinality(p_claim_order);
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        FOR v_row IN
            SELECT r.resource_id, r.capacity, r.version FROM resources r
            WHERE r.resource_id = ANY (p_resources) ORDER BY r.resource_id FOR NO KEY UPDATE
        LOOP
            v_at := array_position(p_resources, v_row.resource_id);
            v_capacity[v_at] := v_row.capacity;
            v_version[v_at] := v_row.version;
        END LOOP;
        v_now := clock_timestamp();
        PERFORM end_expired(p_resources, v_now);

        -- What the same booking's step, or the same key, got before.
        FOR v_row IN
            SELECT o.place, o.hold_id, o.ttl_ms, o.quote_until, o.key, o.request_hash,
                b.hold_id AS booked, k.resource_id AS keyed, k.request_hash AS first_hash
            FROM ROWS FROM (jsonb_to_recordset(p_orders) AS (
                hold_id text, booking_id text, step text, ttl_ms bigint, quote_until timestamptz,
                principal text, method text, key text, request_hash text
            )) WITH ORDINALITY AS o(
                hold_id, booking_id, step, ttl_ms, quote_until, principal, method, key, request_hash, place
            )
            LEFT JOIN LATERAL (
                SELECT h.hold_id FROM holds h
                WHERE h.tenant_id = p_tenant AND h.booking_id = o.booking_id AND h.step = o.step
                    AND h.booking_id <> '' LIMIT 1
            ) b ON true
            LEFT JOIN LATERAL (
                SELECT i.resource_id, i.request_hash FROM idempotency i
                WHERE i.tenant_id = p_tenant AND i.principal = o.principal AND i.method = o.method
                    AND i.key = o.key LIMIT 1
            ) k ON true
        LOOP
            v_outcome[v_row.place] := CASE
                WHEN v_row.booked IS NOT NULL THEN 'REPEATED'
                WHEN v_row.first_hash <> decode(v_row.request_hash, 'hex') THEN 'KEY_REUSED'
                WHEN v_row.keyed IS NOT NULL THEN 'REPEATED'
                WHEN v_row.quote_until <= v_now THEN 'QUOTE_ENDED'
            END;
            v_hold[v_row.place] := coalesce(v_row.booked, v_row.keyed, v_row.hold_id);
            v_until[v_row.place] := v_now + v_row.ttl_ms * interval '1 millisecond';
            v_keyed := v_keyed OR v_row.key IS NOT NULL;
        END LOOP;

        v_free := ARRAY(
            SELECT v_capacity[g.r] - coalesce(
                (SELECT c.used FROM cells c WHERE c.resource_id = p_resources[g.r] AND c.cell = g.cell), 0
            )
            FROM unnest(p_grid_resource, p_grid_cell) WITH ORDINALITY AS g(r, cell, place) ORDER BY g.place
        );

        FOR v_order IN 1 .. cardinality(v_hold) LOOP
            v_verdict := v_outcome[v_order];
            v_first := v_claim;
            WHILE v_claim <= v_claims AND p_claim_order[v_claim] = v_order LOOP
                IF v_verdict IS NULL THEN
                    v_at := p_claim_resource[v_claim];
                    IF v_version[v_at] IS DISTINCT FROM p_claim_version[v_claim] THEN
                        v_verdict := 'STALE';
                    ELSIF p_claim_until[v_claim] <= v_now THEN
                        v_verdict := 'PAST';
                    ELSE
                        v_least := v_capacity[v_at];
                        FOR v_cell IN p_claim_low[v_claim] .. p_claim_high[v_claim] LOOP
                            IF v_free[v_cell] < v_least THEN
                                v_least := v_free[v_cell];
                            END IF;
                        END LOOP;
                        IF v_least < p_claim_quantity[v_claim] THEN
                            v_verdict := 'TAKEN';
                            v_available[v_order] := greatest(v_least, 0);
                        ELSE
                            FOR v_cell IN p_claim_low[v_claim] .. p_claim_high[v_claim] LOOP
                                v_free[v_cell] := v_free[v_cell] - p_claim_quantity[v_claim];
                            END LOOP;
                        END IF;
                    END IF;
                    IF v_verdict IS NOT NULL THEN
                        v_blocker[v_order] := v_at;
                        -- All or none: what the order's claims before this one took is free again.
                        FOR v_given IN v_first .. v_claim - 1 LOOP
                            FOR v_cell IN p_claim_low[v_given] .. p_claim_high[v_given] LOOP
                                v_free[v_cell] := v_free[v_cell] + p_claim_quantity[v_given];
                            END LOOP;
                        END LOOP;
                    END IF;
                END IF;
                v_claim := v_claim + 1;
            END LOOP;
            IF v_verdict IS NULL THEN
                v_verdict := 'PLACED';
                v_placed := true;
            END IF;
            v_outcome[v_order] := v_verdict;
        END LOOP;

        IF v_placed THEN
            INSERT INTO holds (
                hold_id, tenant_id, user_id, booking_id, step, status, items, create_time, placed_until, expire_time,
                update_time
            )
            SELECT o.hold_id, p_tenant, o.user_id, o.booking_id, o.step, 'HELD', o.items, v_now, v_until[o.place],
                v_until[o.place], v_now
            FROM ROWS FROM (jsonb_to_recordset(p_orders) AS (
                hold_id text, user_id text, booking_id text, step text, items jsonb
            )) WITH ORDINALITY AS o(hold_id, user_id, booking_id, step, items, place)
            WHERE v_outcome[o.place] = 'PLACED';
            INSERT INTO claims (
                hold_id, position, tenant_id, resource_id, first_cell, last_cell, quantity, expire_time, finish_time
            )
            SELECT v_hold[c.n], c.place, p_tenant, p_resources[c.r], p_grid_cell[c.low], p_grid_cell[c.high],
                c.quantity, v_until[c.n], c.finish
            FROM unnest(
                p_claim_order, p_claim_resource, p_claim_low, p_claim_high, p_claim_quantity, p_claim_finish
            ) WITH ORDINALITY AS c(n, r, low, high, quantity, finish, place)
            WHERE v_outcome[c.n] = 'PLACED';
            IF v_keyed THEN
                INSERT INTO idempotency (tenant_id, principal, method, key, request_hash, resource_id, create_time)
                SELECT p_tenant, o.principal, o.method, o.key, decode(o.request_hash, 'hex'), o.hold_id, v_now
                FROM ROWS FROM (jsonb_to_recordset(p_orders) AS (
                    hold_id text, principal text, method text, key text, request_hash text
                )) WITH ORDINALITY AS o(hold_id, principal, method, key, request_hash, place)
                WHERE v_outcome[o.place] = 'PLACED' AND o.key IS NOT NULL;
            END IF;
        END IF;

        FOR v_order IN 1 .. cardinality(v_hold) LOOP
            o_place := v_order;
            o_outcome := v_outcome[v_order];
            o_available := v_available[v_order];
            o_resource := p_resources[v_blocker[v_order]];
            o_now := v_now;
            o_hold_id := v_hold[v_order];
            o_expire_time := v_until[v_order];
            IF o_outcome = 'REPEATED' THEN
                SELECT h.user_id, h.booking_id, CASE WHEN h.status = 'HELD' AND h.expire_time <= v_now
                    THEN 'EXPIRED' ELSE h.status END, h.items, h.create_time, h.placed_until, h.expire_time
                INTO o_user_id, o_booking_id, o_status, o_items, o_create_time, o_placed_until, o_expire_time
                FROM holds h WHERE h.hold_id = v_hold[v_order];
            END IF;
            RETURN NEXT;
        END LOOP;
    END $$
    """,
)


def upgrade() -> None:
    """Create them."""
    bind = op.get_bind()
    for statement in FUNCTIONS:
        bind.exec_driver_sql(statement)
