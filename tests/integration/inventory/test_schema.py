"""The schema is what the tables say, and every tenant's rows are behind row security."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis.db.migrate import drift
from services.inventory.store.tables import METADATA
from tests.databases import Urls


def test_migrations_and_tables_agree(new_database: Callable[[str], Urls]) -> None:
    assert drift(new_database("inventory").owner, METADATA) == []
