"""Creates tenants, people, their credentials and sessions, and the signing keys."""

from alembic import op

from services.chassis.db.rls import tenant_policy
from services.chassis.idempotency import store as idempotency
from services.chassis.outbox import table as outbox

TABLES = (
    """
    CREATE TABLE tenants (
        tenant_id text PRIMARY KEY,
        slug text NOT NULL CONSTRAINT tenants_slug_key UNIQUE,
        display_name text NOT NULL,
        status text NOT NULL CONSTRAINT tenants_status_check CHECK (status IN ('ACTIVE', 'SUSPENDED')),
        create_time timestamptz NOT NULL
    )
    """,
    # Everybody may look tenants up: that is how a call finds its own. Only the worker's role, which skips row security,
    # may write them.
    "ALTER TABLE tenants ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY tenants_read ON tenants FOR SELECT USING (true)",
    """
    CREATE TABLE users (
        user_id text PRIMARY KEY,
        tenant_id text NOT NULL CONSTRAINT users_tenant_id_fkey REFERENCES tenants,
        email text NOT NULL,
        email_key text NOT NULL,
        first_name text NOT NULL,
        last_name text NOT NULL,
        phone text NOT NULL,
        locale text NOT NULL,
        status text NOT NULL CONSTRAINT users_status_check CHECK (status IN ('UNVERIFIED', 'ACTIVE', 'SUSPENDED')),
        roles text[] NOT NULL,
        revision integer NOT NULL,
        fact_version bigint NOT NULL DEFAULT 0,
        create_time timestamptz NOT NULL,
        update_time timestamptz NOT NULL,
        CONSTRAINT users_email_key UNIQUE (tenant_id, email_key)
    )
    """,
    *tenant_policy("users"),
    """
    CREATE TABLE passwords (
        user_id text PRIMARY KEY CONSTRAINT passwords_user_id_fkey REFERENCES users ON DELETE CASCADE,
        tenant_id text NOT NULL,
        hash text NOT NULL
    )
    """,
    *tenant_policy("passwords"),
    """
    CREATE TABLE vendor_owners (
        user_id text NOT NULL CONSTRAINT vendor_owners_user_id_fkey REFERENCES users ON DELETE CASCADE,
        vendor_id text NOT NULL,
        tenant_id text NOT NULL,
        grant_time timestamptz NOT NULL,
        PRIMARY KEY (user_id, vendor_id)
    )
    """,
    *tenant_policy("vendor_owners"),
    """
    CREATE TABLE otp_challenges (
        challenge_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL CONSTRAINT otp_challenges_user_id_fkey REFERENCES users ON DELETE CASCADE,
        digest bytea NOT NULL,
        sealed bytea NOT NULL,
        create_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        end_time timestamptz
    )
    """,
    "CREATE UNIQUE INDEX otp_challenges_open ON otp_challenges (user_id) WHERE end_time IS NULL",
    "CREATE INDEX otp_challenges_user_id ON otp_challenges (user_id)",
    "CREATE INDEX otp_challenges_expire_time ON otp_challenges (expire_time)",
    *tenant_policy("otp_challenges"),
    """
    CREATE TABLE sessions (
        session_id text PRIMARY KEY,
        tenant_id text NOT NULL,
        user_id text NOT NULL CONSTRAINT sessions_user_id_fkey REFERENCES users ON DELETE CASCADE,
        device_name text NOT NULL,
        salt bytea NOT NULL,
        generation integer NOT NULL CONSTRAINT sessions_generation_check CHECK (generation >= 1),
        create_time timestamptz NOT NULL,
        rotate_time timestamptz NOT NULL,
        expire_time timestamptz NOT NULL,
        end_time timestamptz,
        end_reason text,
        CONSTRAINT sessions_end_check CHECK ((end_time IS NULL) = (end_reason IS NULL))
    )
    """,
    "CREATE INDEX sessions_user_id ON sessions (user_id)",
    "CREATE INDEX sessions_expire_time ON sessions (expire_time)",
    "CREATE INDEX sessions_end_time ON sessions (end_time) WHERE end_time IS NOT NULL",
    *tenant_policy("sessions"),
    """
    CREATE TABLE attempts (
        tenant_id text NOT NULL,
        attempt text NOT NULL,
        subject text NOT NULL,
        count integer NOT NULL,
        window_start timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, attempt, subject)
    )
    """,
    "CREATE INDEX attempts_window_start ON attempts (window_start)",
    *tenant_policy("attempts"),
    """
    CREATE TABLE signing_keys (
        key_id text PRIMARY KEY,
        public text NOT NULL,
        sealed bytea NOT NULL,
        create_time timestamptz NOT NULL,
        sign_time timestamptz NOT NULL
    )
    """,
)


def upgrade() -> None:
    """Create everything; there is nothing yet that could be in the way."""
    for statement in (*TABLES, *outbox.CREATE_V1, *idempotency.CREATE_V1):
        op.execute(statement)
