"""Payment's tables, as queries and the drift check know them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.chassis.idempotency.store import idempotency_table
from services.chassis.outbox.table import outbox_table

METADATA = MetaData()

booking_payments = Table(
    "booking_payments",
    METADATA,
    Column("booking_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("event_version", BigInteger, nullable=False, server_default=text("0")),
    Column("cancel_time", DateTime(timezone=True)),
)

payments = Table(
    "payments",
    METADATA,
    Column("payment_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("booking_id", Text, ForeignKey("booking_payments.booking_id"), nullable=False),
    Column("step", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("vendor_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("captured_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("refunded_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("fee_currency", Text),
    Column("fee_minor", BigInteger),
    Column("manual_capture", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("last_error", Text, nullable=False, server_default=text("''")),
    Column("provider_intent_id", Text),
    Column("provider_charge_id", Text, nullable=False, server_default=text("''")),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("attempt_time", DateTime(timezone=True), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    Column("version", Integer, nullable=False),
    Column("check_time", DateTime(timezone=True)),
    Column("check_count", Integer, nullable=False, server_default=text("0")),
    UniqueConstraint("provider_intent_id", name="payments_provider_intent_id_key"),
    UniqueConstraint("booking_id", "step", name="payments_booking_id_step_key"),
    CheckConstraint("amount_minor > 0", name="payments_amount_positive"),
    CheckConstraint("refunded_minor BETWEEN 0 AND captured_minor", name="payments_refunds_covered"),
    CheckConstraint("status IN ('PROCESSING')", name="payments_status_known"),  # names are compared, not texts
)
Index("payments_check_time", payments.c.check_time, postgresql_where=text("check_time IS NOT NULL"))

refunds = Table(
    "refunds",
    METADATA,
    Column("refund_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("payment_id", Text, ForeignKey("payments.payment_id"), nullable=False),
    Column("booking_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("provider_refund_id", Text),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("attempt_time", DateTime(timezone=True), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("update_time", DateTime(timezone=True), nullable=False),
    UniqueConstraint("provider_refund_id", name="refunds_provider_refund_id_key"),
    UniqueConstraint("booking_id", "step", name="refunds_booking_id_step_key"),
    CheckConstraint("amount_minor > 0", name="refunds_amount_positive"),
    CheckConstraint("status IN ('PENDING')", name="refunds_status_known"),
)
Index("refunds_payment_id", refunds.c.payment_id)

accounts = Table(
    "accounts",
    METADATA,
    Column("account_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("vendor_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    CheckConstraint("kind <> ''", name="accounts_kind_known"),
    CheckConstraint("vendor_id <> ''", name="accounts_vendor_named"),
)

journal_entries = Table(
    "journal_entries",
    METADATA,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("booking_id", Text, nullable=False),
    Column("payment_id", Text, ForeignKey("payments.payment_id"), nullable=False),
    Column("refund_id", Text, ForeignKey("refunds.refund_id")),
    Column("entry_time", DateTime(timezone=True), nullable=False),
    UniqueConstraint(
        "payment_id", "kind", "refund_id", name="journal_entries_once", postgresql_nulls_not_distinct=True
    ),
    CheckConstraint("kind <> ''", name="journal_entries_kind_known"),
)

postings = Table(
    "postings",
    METADATA,
    Column("entry_id", BigInteger, ForeignKey("journal_entries.entry_id"), primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("tenant_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    CheckConstraint("amount_minor <> 0", name="postings_move_something"),
)
Index("postings_account_id", postings.c.account_id, postgresql_include=["amount_minor"])

provider_events = Table(
    "provider_events",
    METADATA,
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("intent_id", Text, nullable=False),
    Column("payment_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("receive_time", DateTime(timezone=True), nullable=False),
    Column("due_time", DateTime(timezone=True), nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("apply_time", DateTime(timezone=True)),
    CheckConstraint("state <> ''", name="provider_events_state_known"),
)
Index("provider_events_waiting", provider_events.c.due_time, postgresql_where=text("state = 'WAITING'"))
Index("provider_events_receive_time", provider_events.c.receive_time)

outbox = outbox_table(METADATA)
idempotency = idempotency_table(METADATA)
