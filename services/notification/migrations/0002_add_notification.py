"""Creates the one step that puts a message into a person's inbox: one round trip under row security."""

from alembic import op

ADD_NOTIFICATION = """
    CREATE FUNCTION add_notification(
        p_notification_id text, p_tenant_id text, p_user_id text, p_event_id text, p_kind text, p_title text,
        p_body text, p_booking_id text, p_create_time timestamptz
    ) RETURNS void LANGUAGE plpgsql SECURITY INVOKER AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant_id, true);
        INSERT INTO notifications (
            notification_id, tenant_id, user_id, event_id, kind, title, body, booking_id, create_time
        ) VALUES (
            p_notification_id, p_tenant_id, p_user_id, p_event_id, p_kind, p_title, p_body, p_booking_id, p_create_time
        ) ON CONFLICT DO NOTHING;
    END $$
"""


def upgrade() -> None:
    """Create it."""
    op.execute(ADD_NOTIFICATION)
