"""What all suites share: real PostgreSQL and real Kafka, started when the first test asks for them."""

from tests.databases import new_database, postgres

__all__ = ["new_database", "postgres"]
