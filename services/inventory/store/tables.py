"""The tables as repositories and the drift check know them; migrations create them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.chassis.idempotency.store import idempotency_table
from services.chassis.outbox.table import outbox_table

METADATA = MetaData()

idempotency_table(METADATA)
outbox_table(METADATA)


def _time(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


VENDORS = Table(
    "vendors",
    METADATA,
    Column("vendor_id", Text, primary_key=True),
    _text("tenant_id"),
    _text("display_name"),
    _text("status"),
    _text("owner_user_id"),
    Column("review_note", Text, nullable=False, server_default=""),
    Column("version", BigInteger, nullable=False),
    _time("create_time"),
    _time("update_time"),
    Column("grant_due", DateTime(timezone=True)),  # when auth is told next who owns it; NULL once it knows
    CheckConstraint("status IN ('DRAFT', 'SUBMITTED', 'APPROVED', 'REJECTED')", name="vendors_status"),
)
Index("vendors_of_tenant", VENDORS.c.tenant_id, VENDORS.c.vendor_id)
Index("vendors_to_grant", VENDORS.c.grant_due, postgresql_where=text("grant_due IS NOT NULL"))

RESOURCES = Table(
    "resources",
    METADATA,
    Column("resource_id", Text, primary_key=True),
    _text("tenant_id"),
    Column("vendor_id", Text, ForeignKey("vendors.vendor_id", name="resources_vendor"), nullable=False),
    _text("name"),
    _text("description"),
    _text("kind"),
    _text("time_zone"),
    _text("status"),
    Column("capacity", Integer, nullable=False),
    Column("cell_minutes", Integer, nullable=False),
    _text("currency"),
    Column("unit_minor", BigInteger, nullable=False),
    Column("fee_minor", BigInteger, nullable=False),
    Column("tax_basis_points", Integer, nullable=False),
    Column("stay", JSONB(none_as_null=True)),
    Column("appointment", JSONB(none_as_null=True)),
    _text("cancellation_policy"),
    Column("version", BigInteger, nullable=False),
    _time("create_time"),
    _time("update_time"),
    CheckConstraint("kind IN ('STAY', 'APPOINTMENT')", name="resources_kind"),
    CheckConstraint("status IN ('ACTIVE', 'ARCHIVED')", name="resources_status"),
    CheckConstraint("capacity > 0", name="resources_capacity"),
    CheckConstraint("cell_minutes IN (5, 15, 1440)", name="resources_cell_minutes"),
    CheckConstraint("unit_minor >= 0", name="resources_unit"),
    CheckConstraint("fee_minor >= 0", name="resources_fee"),
    CheckConstraint("tax_basis_points >= 0", name="resources_tax"),
    CheckConstraint(
        "CASE kind WHEN 'STAY' THEN appointment IS NULL ELSE appointment IS NOT NULL AND stay IS NULL END",
        name="resources_rules",
    ),
)
Index("resources_of_tenant", RESOURCES.c.tenant_id, RESOURCES.c.resource_id)
Index("resources_of_vendor", RESOURCES.c.vendor_id, RESOURCES.c.resource_id)

QUOTES = Table(
    "quotes",
    METADATA,
    Column("quote_id", Text, primary_key=True),
    _text("tenant_id"),
    _text("user_id"),
    Column("items", JSONB, nullable=False),
    _time("create_time"),
    _time("expire_time"),
)
Index("quotes_expire_time", QUOTES.c.expire_time)

HOLDS = Table(
    "holds",
    METADATA,
    Column("hold_id", Text, primary_key=True),
    _text("tenant_id"),
    _text("user_id"),
    Column("booking_id", Text, nullable=False, server_default=""),
    Column("step", Text, nullable=False, server_default=""),
    _text("status"),
    Column("items", JSONB, nullable=False),
    _time("create_time"),
    _time("placed_until"),
    _time("expire_time"),
    _time("update_time"),
    CheckConstraint("status IN ('HELD', 'POSTED', 'VOIDED', 'RELEASED', 'EXPIRED', 'CANCELLED')", name="holds_status"),
)
Index(
    "holds_of_booking",
    HOLDS.c.tenant_id,
    HOLDS.c.booking_id,
    HOLDS.c.step,
    unique=True,
    postgresql_where=text("booking_id <> ''"),
)
Index("holds_expiring", HOLDS.c.expire_time, postgresql_where=text("status = 'HELD'"))

CLAIMS = Table(
    "claims",
    METADATA,
    Column("hold_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    _text("tenant_id"),
    _text("resource_id"),
    Column("first_cell", Integer, nullable=False),
    Column("last_cell", Integer, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("live", Boolean, nullable=False, server_default=text("true")),
    _time("expire_time"),
    _time("finish_time"),
    CheckConstraint("quantity > 0", name="claims_quantity"),
    CheckConstraint("first_cell <= last_cell", name="claims_cells"),
)
Index("claims_living", CLAIMS.c.resource_id, CLAIMS.c.expire_time, postgresql_where=text("live"))

CELLS = Table(
    "cells",
    METADATA,
    Column("resource_id", Text, primary_key=True),
    Column("cell", Integer, primary_key=True, autoincrement=False),
    _text("tenant_id"),
    Column("used", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    CheckConstraint("used >= 0 AND used <= capacity", name="cells_capacity"),
)

HOLD_HISTORY = Table(
    "hold_history",
    METADATA,
    Column("hold_id", Text, primary_key=True),
    Column("transition_time", DateTime(timezone=True), primary_key=True),
    _text("tenant_id"),
    _text("from_status"),
    _text("to_status"),
    _text("booking_id"),
)
