"""Auth's tables, as the repositories and the drift check know them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.chassis.idempotency.store import idempotency_table
from services.chassis.outbox import outbox_table

METADATA = MetaData()


def _instant(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


tenants = Table(
    "tenants",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("slug", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    _instant("create_time"),
    UniqueConstraint("slug", name="tenants_slug_key"),
    CheckConstraint("status IN ('ACTIVE', 'SUSPENDED')", name="tenants_status_check"),
)

users = Table(
    "users",
    METADATA,
    Column("user_id", Text, primary_key=True),
    Column("tenant_id", Text, ForeignKey("tenants.tenant_id", name="users_tenant_id_fkey"), nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("phone", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("fact_version", BigInteger, nullable=False, server_default="0"),
    _instant("create_time"),
    _instant("update_time"),
    UniqueConstraint("tenant_id", "email_key", name="users_email_key"),
    CheckConstraint("status IN ('UNVERIFIED', 'ACTIVE', 'SUSPENDED')", name="users_status_check"),
)


def _user_id(table: str, *, primary_key: bool = False) -> Column[str]:
    reference = ForeignKey("users.user_id", name=f"{table}_user_id_fkey", ondelete="CASCADE")
    return Column("user_id", Text, reference, primary_key=primary_key, nullable=False)


# Apart from the people: those who come by another identity provider have none.
passwords = Table(
    "passwords",
    METADATA,
    _user_id("passwords", primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

vendor_owners = Table(
    "vendor_owners",
    METADATA,
    _user_id("vendor_owners", primary_key=True),
    Column("vendor_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    _instant("grant_time"),
)

challenges = Table(
    "otp_challenges",
    METADATA,
    Column("challenge_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    _user_id("otp_challenges"),
    Column("digest", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _instant("create_time"),
    _instant("expire_time"),
    _instant("end_time", nullable=True),
)
# One open code a person: the database sees to it.
Index("otp_challenges_open", challenges.c.user_id, unique=True, postgresql_where=text("end_time IS NULL"))
Index("otp_challenges_user_id", challenges.c.user_id)
Index("otp_challenges_expire_time", challenges.c.expire_time)

sessions = Table(
    "sessions",
    METADATA,
    Column("session_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    _user_id("sessions"),
    Column("device_name", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("generation", Integer, nullable=False),
    _instant("create_time"),
    _instant("rotate_time"),
    _instant("expire_time"),
    _instant("end_time", nullable=True),
    Column("end_reason", Text),
    CheckConstraint("generation >= 1", name="sessions_generation_check"),
    CheckConstraint("(end_time IS NULL) = (end_reason IS NULL)", name="sessions_end_check"),
)
Index("sessions_user_id", sessions.c.user_id)
Index("sessions_expire_time", sessions.c.expire_time)
Index("sessions_end_time", sessions.c.end_time, postgresql_where=text("end_time IS NOT NULL"))

attempts = Table(
    "attempts",
    METADATA,
    Column("tenant_id", Text, primary_key=True),
    Column("attempt", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    _instant("window_start"),
)
Index("attempts_window_start", attempts.c.window_start)

# No tenant's: every token of the platform is signed by the same keys.
signing_keys = Table(
    "signing_keys",
    METADATA,
    Column("key_id", Text, primary_key=True),
    Column("public", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    _instant("create_time"),
    _instant("sign_time"),
)

outbox = outbox_table(METADATA)
idempotency = idempotency_table(METADATA)
