"""Counts the statements that a piece of code sends, so that tests can hold hot paths to their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.chassis.db.engine import Database


@dataclass(slots=True)
class Counter:
    """What was sent to the database while the counter was listening."""

    statements: list[str] = field(default_factory=list)  # without those that begin and end transactions
    round_trips: int = 0  # all of them

    def statement(self, sql: str) -> None:
        """Note a statement: one text, one round trip."""
        self.statements.append(sql)
        self.round_trips += 1

    def boundary(self) -> None:
        """Note a round trip that begins or ends a transaction."""
        self.round_trips += 1


@contextmanager
def counting(database: Database) -> Iterator[Counter]:
    """Listen to every statement of `database` until the block ends."""
    counter = Counter()
    database.listeners.append(counter)
    try:
        yield counter
    finally:
        database.listeners.remove(counter)
