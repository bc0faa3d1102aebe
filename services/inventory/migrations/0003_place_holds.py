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
    # come as parallel arrays, grouped by order. The cells that are asked for come as stretches that do not touch; their
    # free units lie one after the other in one array, over which the decision runs: a claim's cell lies in it at its
    # number less the claim's offset. `p_resources` is in the order of its bytes, which is the order of locking.
    """
    CREATE FUNCTION place_holds(
        p_tenant text, p_resources text[], p_stretch_resource integer[], p_stretch_first integer[],
        p_stretch_last integer[], p_orders jsonb, p_claim_order integer[], p_claim_resource integer[],
        p_claim_version bigint[], p_claim_first integer[], p_claim_last integer[], p_claim_offset integer[],
        p_claim_quantity integer[], p_claim_until timestamptz[], p_claim_finish timestamptz[]
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
        v_free integer[] := '{}';
        v_cells integer[];
        v_used integer[];
        v_base integer;
        v_outcome text[];
        v_hold text[];
        v_user text[];
        v_booking text[];
        v_step text[];
        v_items jsonb[];
        v_until timestamptz[];
        v_found record;
        v_available integer[];
        v_blocker integer[];
        v_keyed boolean := false;
        v_placed boolean := false;
        v_verdict text;
        v_first integer;
        v_claim integer;
        v_least integer;
        v_low integer;
        v_high integer;
        v_claims integer := cardinality(p_claim_order);
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        FOR v_number IN 1 .. cardinality(p_resources) LOOP
            SELECT r.capacity, r.version INTO v_found FROM resources r
            WHERE r.resource_id = p_resources[v_number] FOR NO KEY UPDATE;
            v_capacity[v_number] := v_found.capacity;
            v_version[v_number] := v_found.version;
        END LOOP;
        v_now := clock_timestamp();
        IF EXISTS (
            SELECT FROM claims c WHERE c.resource_id = ANY (p_resources) AND c.live AND c.expire_time <= v_now
        ) THEN
            PERFORM end_expired(p_resources, v_now);
        END IF;

        FOR v_row IN
            SELECT o.* FROM ROWS FROM (jsonb_to_recordset(p_orders) AS (
                hold_id text, user_id text, booking_id text, step text, ttl_ms bigint, items jsonb,
                quote_until timestamptz, principal text, method text, key text, request_hash text
            )) WITH ORDINALITY AS o(
                hold_id, user_id, booking_id, step, ttl_ms, items, quote_until, principal, method, key, request_hash,
                place
            )
        LOOP
            v_at := v_row.place;
            v_hold[v_at] := v_row.hold_id;
            v_user[v_at] := v_row.user_id;
            v_booking[v_at] := v_row.booking_id;
            v_step[v_at] := v_row.step;
            v_items[v_at] := v_row.items;
            v_until[v_at] := v_now + v_row.ttl_ms * interval '1 millisecond';
            v_outcome[v_at] := NULL;
            -- What the same booking's step, or the same key, got before.
            IF v_row.booking_id <> '' THEN
                SELECT h.hold_id INTO v_found FROM holds h
                WHERE h.tenant_id = p_tenant AND h.booking_id = v_row.booking_id AND h.step = v_row.step
                    AND h.booking_id <> '';
                IF FOUND THEN
                    v_outcome[v_at] := 'REPEATED';
                    v_hold[v_at] := v_found.hold_id;
                END IF;
            ELSIF v_row.key IS NOT NULL THEN
                v_keyed := true;
                SELECT i.resource_id, i.request_hash INTO v_found FROM idempotency i
                WHERE i.tenant_id = p_tenant AND i.principal = v_row.principal AND i.method = v_row.method
                    AND i.key = v_row.key;
                IF FOUND AND v_found.request_hash <> decode(v_row.request_hash, 'hex') THEN
                    v_outcome[v_at] := 'KEY_REUSED';
                ELSIF FOUND THEN
                    v_outcome[v_at] := 'REPEATED';
                    v_hold[v_at] := v_found.resource_id;
                END IF;
            END IF;
            IF v_outcome[v_at] IS NULL AND v_row.quote_until <= v_now THEN
                v_outcome[v_at] := 'QUOTE_ENDED';
            END IF;
        END LOOP;

        FOR v_number IN 1 .. cardinality(p_stretch_first) LOOP
            v_at := p_stretch_resource[v_number];
            v_first := p_stretch_first[v_number];
            SELECT array_agg(c.cell), array_agg(c.used) INTO v_cells, v_used FROM cells c
            WHERE c.resource_id = p_resources[v_at] AND c.cell BETWEEN v_first AND p_stretch_last[v_number];
            v_base := cardinality(v_free) + 1;
            v_free := v_free || array_fill(v_capacity[v_at], ARRAY[p_stretch_last[v_number] - v_first + 1]);
            FOR v_cell IN 1 .. coalesce(cardinality(v_cells), 0) LOOP
                v_claim := v_base + v_cells[v_cell] - v_first;
                v_free[v_claim] := v_free[v_claim] - v_used[v_cell];
            END LOOP;
        END LOOP;

        v_claim := 1;
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
                        v_low := p_claim_first[v_claim] - p_claim_offset[v_claim];
                        v_high := p_claim_last[v_claim] - p_claim_offset[v_claim];
                        FOR v_cell IN v_low .. v_high LOOP
                            IF v_free[v_cell] < v_least THEN
                                v_least := v_free[v_cell];
                            END IF;
                        END LOOP;
                        IF v_least < p_claim_quantity[v_claim] THEN
                            v_verdict := 'TAKEN';
                            v_available[v_order] := greatest(v_least, 0);
                        ELSE
                            FOR v_cell IN v_low .. v_high LOOP
                                v_free[v_cell] := v_free[v_cell] - p_claim_quantity[v_claim];
                            END LOOP;
                        END IF;
                    END IF;
                    IF v_verdict IS NOT NULL THEN
                        v_blocker[v_order] := v_at;
                        -- All or none: what the order's claims before this one took is free again.
                        FOR v_given IN v_first .. v_claim - 1 LOOP
                            FOR v_cell IN p_claim_first[v_given] - p_claim_offset[v_given]
                                .. p_claim_last[v_given] - p_claim_offset[v_given]
                            LOOP
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
            SELECT o.hold_id, p_tenant, o.user_id, o.booking_id, o.step, 'HELD', o.items, v_now, o.until, o.until, v_now
            FROM unnest(v_hold, v_user, v_booking, v_step, v_items, v_until, v_outcome)
                AS o(hold_id, user_id, booking_id, step, items, until, outcome)
            WHERE o.outcome = 'PLACED';
            INSERT INTO claims (
                hold_id, position, tenant_id, resource_id, first_cell, last_cell, quantity, expire_time, finish_time
            )
            SELECT v_hold[c.n], c.place, p_tenant, p_resources[c.r], c.first, c.last, c.quantity, v_until[c.n], c.finish
            FROM unnest(
                p_claim_order, p_claim_resource, p_claim_first, p_claim_last, p_claim_quantity, p_claim_finish
            ) WITH ORDINALITY AS c(n, r, first, last, quantity, finish, place)
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
