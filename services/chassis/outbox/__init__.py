"""Facts a service publishes: stored with the change they tell of, then relayed to Kafka."""

from services.chassis.outbox.table import OutboxEvent, append, outbox_table

__all__ = ["OutboxEvent", "append", "outbox_table"]
