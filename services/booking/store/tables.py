"""Booking's tables, as reads and the drift check know them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.chassis.idempotency.store import idempotency_table
from services.chassis.inbox import inbox_tables
from services.chassis.outbox import outbox_table

METADATA = MetaData()


def _text(name: str, *, default: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="" if default else None)


def _time(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


bookings = Table(
    "bookings",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("vendor_id", default=True),
    _text("status"),
    _text("status_actor"),
    _text("status_reason"),
    Column("version", Integer, nullable=False),
    _text("confirmation_code"),
    Column("asked", JSONB, nullable=False),
    Column("items", JSONB, nullable=False, server_default="[]"),
    _text("currency", default=True),
    Column("total_minor", BigInteger),
    _text("first_name"),
    _text("last_name"),
    _text("email"),
    _text("phone"),
    _text("payment_method"),
    _text("payment_token", default=True),
    _text("payment_id", default=True),
    Column("payment_status", Text),
    _text("payment_error", default=True),
    Column("payment_version", Integer, nullable=False, server_default="0"),
    _text("refund_id", default=True),
    Column("refund_minor", BigInteger, nullable=False, server_default="0"),
    Column("refund_status", Text),
    _text("cancel_reason", default=True),
    _text("failure_reason", default=True),
    Column("failure_details", JSONB, nullable=False, server_default="{}"),
    _text("step"),
    _text("hold_step"),
    Column("ending_status", Text),
    _text("ending_actor", default=True),
    _text("ending_reason", default=True),
    _time("run_time", nullable=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("idempotency_key", ARRAY(Text)),
    _time("create_time"),
    _time("update_time"),
    _time("payment_due_time"),
    _time("confirm_time", nullable=True),
    _time("cancel_time", nullable=True),
    UniqueConstraint("tenant_id", "confirmation_code", name="bookings_confirmation_code"),
    # What they say is the migrations' to know; here they are named, so that a missing one is noticed.
    *(
        CheckConstraint("true", name=f"bookings_{rule}")
        for rule in ("status", "version", "refund", "confirmed_is_paid", "ended", "run")
    ),
)
Index("bookings_run_time", bookings.c.run_time, postgresql_where=text("run_time IS NOT NULL"))
Index("bookings_user", bookings.c.tenant_id, bookings.c.user_id, bookings.c.booking_id)
Index("bookings_vendor", bookings.c.tenant_id, bookings.c.vendor_id, bookings.c.booking_id)

booking_history = Table(
    "booking_history",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    _text("tenant_id"),
    Column("from_status", Text),
    _text("to_status"),
    _text("actor"),
    _text("reason"),
    _time("transition_time"),
    CheckConstraint("true", name="booking_history_legal"),
)

outbox_table(METADATA)
inbox_tables(METADATA)
idempotency_table(METADATA)
