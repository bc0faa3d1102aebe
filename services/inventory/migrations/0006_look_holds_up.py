"""Has `post_holds` look up what it sells, however few rows the planner believes there are.

A plan made while a table is small is kept until the next ANALYZE: as a join, it reads all holds of a tenant for each
call. Arrays, LIMIT and a condition that no partial index says leave the planner nothing but the keys.
"""

from alembic import op

# For each what `move_hold` would do for it alone, but for a hold whose time is over: that one is left to the sweeper.
POST_HOLDS = """
    CREATE OR REPLACE FUNCTION post_holds(p_tenant text, p_bookings text[], p_steps text[]) RETURNS TABLE (
        o_outcome text, o_hold_id text, o_user_id text, o_booking_id text, o_status text, o_items jsonb,
        o_create_time timestamptz, o_expire_time timestamptz
    )
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_asked text[];
        v_now timestamptz;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        SELECT array_agg(found.hold_id ORDER BY asked.place) INTO v_asked
        FROM unnest(p_bookings, p_steps) WITH ORDINALITY AS asked (booking_id, step, place)
        LEFT JOIN LATERAL (
            SELECT h.hold_id FROM holds h
            WHERE h.tenant_id = p_tenant AND h.booking_id = asked.booking_id AND h.step = asked.step
                AND h.booking_id <> ''
            LIMIT 1
        ) AS found ON true;
        PERFORM FROM resources r
        WHERE r.resource_id = ANY (ARRAY(SELECT c.resource_id FROM claims c WHERE c.hold_id = ANY (v_asked)))
        ORDER BY r.resource_id COLLATE "C" FOR NO KEY UPDATE;
        PERFORM FROM holds h WHERE h.hold_id = ANY (v_asked) ORDER BY h.hold_id FOR UPDATE;
        v_now := clock_timestamp();
        WITH posted AS (
            UPDATE holds h SET status = 'POSTED', update_time = v_now
            WHERE h.hold_id = ANY (v_asked) AND CASE h.status WHEN 'HELD' THEN h.expire_time > v_now END
            RETURNING h.hold_id
        )
        UPDATE claims c SET expire_time = 'infinity'
        WHERE c.hold_id = ANY (ARRAY(SELECT posted.hold_id FROM posted)) AND c.live;
        RETURN QUERY
        SELECT CASE WHEN h.hold_id IS NULL THEN 'NOT_FOUND' WHEN h.status = 'POSTED' THEN 'DONE' ELSE 'ENDED' END,
            h.hold_id, h.user_id, h.booking_id, CASE h.status WHEN 'HELD' THEN 'EXPIRED' ELSE h.status END, h.items,
            h.create_time, h.expire_time
        FROM unnest(v_asked) WITH ORDINALITY AS asked (hold_id, place)
        LEFT JOIN LATERAL (SELECT * FROM holds WHERE holds.hold_id = asked.hold_id LIMIT 1) AS h ON true
        ORDER BY asked.place;
    END $$
"""


def upgrade() -> None:
    """Replace it."""
    op.get_bind().exec_driver_sql(POST_HOLDS)
