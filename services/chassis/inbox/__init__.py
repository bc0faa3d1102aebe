"""Facts other services publish: taken from Kafka, applied once in effect, dead-lettered when they cannot be."""

from services.chassis.inbox.event import Handler, Received
from services.chassis.inbox.table import AlreadyApplied, claim, inbox_tables, is_stale

__all__ = ["AlreadyApplied", "Handler", "Received", "claim", "inbox_tables", "is_stale"]
