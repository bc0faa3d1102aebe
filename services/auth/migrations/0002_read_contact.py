"""Creates the one step that finds a person together with their tenant: it is taken for each mail."""

from alembic import op

READ_CONTACT = """
    CREATE FUNCTION read_contact(p_tenant text, p_user text) RETURNS TABLE (
        user_id text, tenant_id text, email text, first_name text, last_name text, phone text, locale text, status text,
        roles text[], revision integer, create_time timestamptz, update_time timestamptz,
        slug text, display_name text, tenant_status text, tenant_create_time timestamptz
    ) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        RETURN QUERY
        SELECT u.user_id, u.tenant_id, u.email, u.first_name, u.last_name, u.phone, u.locale, u.status, u.roles,
            u.revision, u.create_time, u.update_time, t.slug, t.display_name, t.status, t.create_time
        FROM users u JOIN tenants t ON t.tenant_id = u.tenant_id
        WHERE u.tenant_id = p_tenant AND u.user_id = p_user;
    END $$
"""


def upgrade() -> None:
    """Create it."""
    op.execute(READ_CONTACT)
