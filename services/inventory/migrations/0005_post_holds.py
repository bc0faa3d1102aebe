"""Creates the function that sells the holds of several bookings in one statement, under the rule of `place_holds`."""

from alembic import op

# For each what `move_hold` would do for it alone, but for a hold whose time is over: that one is left to the sweeper.
POST_HOLDS = """
    CREATE FUNCTION post_holds(p_tenant text, p_bookings text[], p_steps text[]) RETURNS TABLE (
        o_outcome text, o_hold_id text, o_user_id text, o_booking_id text, o_status text, o_items jsonb,
        o_create_time timestamptz, o_expire_time timestamptz
    )
    LANGUAGE plpgsql SET enable_seqscan = off AS $$
    DECLARE
        v_holds text[];
        v_now timestamptz;
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        SELECT array_agg(h.hold_id) INTO v_holds
        FROM unnest(p_bookings, p_steps) AS asked (booking_id, step)
        JOIN holds h ON h.tenant_id = p_tenant AND h.booking_id = asked.booking_id AND h.step = asked.step
            AND h.booking_id <> '';
        PERFORM FROM resources r
        WHERE r.resource_id IN (SELECT c.resource_id FROM claims c WHERE c.hold_id = ANY (v_holds))
        ORDER BY r.resource_id COLLATE "C" FOR NO KEY UPDATE;
        PERFORM FROM holds h WHERE h.hold_id = ANY (v_holds) ORDER BY h.hold_id FOR UPDATE;
        v_now := clock_timestamp();
        WITH posted AS (
            UPDATE holds h SET status = 'POSTED', update_time = v_now
            WHERE h.hold_id = ANY (v_holds) AND h.status = 'HELD' AND h.expire_time > v_now
            RETURNING h.hold_id
        )
        UPDATE claims c SET expire_time = 'infinity' FROM posted WHERE c.hold_id = posted.hold_id AND c.live;
        RETURN QUERY
        SELECT CASE WHEN h.hold_id IS NULL THEN 'NOT_FOUND' WHEN h.status = 'POSTED' THEN 'DONE' ELSE 'ENDED' END,
            h.hold_id, h.user_id, h.booking_id, CASE h.status WHEN 'HELD' THEN 'EXPIRED' ELSE h.status END, h.items,
            h.create_time, h.expire_time
        FROM unnest(p_bookings, p_steps) WITH ORDINALITY AS asked (booking_id, step, place)
        LEFT JOIN holds h ON h.tenant_id = p_tenant AND h.booking_id = asked.booking_id AND h.step = asked.step
            AND h.booking_id <> ''
        ORDER BY asked.place;
    END $$
"""


def upgrade() -> None:
    """Create it."""
    op.get_bind().exec_driver_sql(POST_HOLDS)
