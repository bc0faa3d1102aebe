"""Facts other services publish: taken from Kafka, applied once in effect, dead-lettered when they cannot be."""

from services.chassis.inbox.table import AlreadyApplied, claim, inbox_tables, is_stale

__all__ = ["AlreadyApplied", "claim", "inbox_tables", "is_stale"]
