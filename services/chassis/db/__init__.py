"""The chassis's way to PostgreSQL: one pool a process, transactions bound to a tenant, migrations and row security."""

from services.chassis.db.counting import Counter, counting
from services.chassis.db.engine import Database
from services.chassis.db.gather import Gather, HotStatement

__all__ = ["Counter", "Database", "Gather", "HotStatement", "counting"]
