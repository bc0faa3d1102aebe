"""What all suites share: real PostgreSQL and real Kafka, started when the first test asks for them."""

from tests.brokers import kafka, new_topic
from tests.databases import new_database, postgres
from tests.mesh import mesh

__all__ = ["kafka", "mesh", "new_database", "new_topic", "postgres"]
