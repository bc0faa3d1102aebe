"""Owns what the auditor reads: one snapshot of each database, by a read-only role, and the provider's charges."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

STATEMENT_TIMEOUT_MS = 120_000
PAGE = 100  # the most that the provider lists at once

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider says it took for one intent, in minor units."""

    intent: str
    captured: int
    refunded: int
    created: float
    """Seconds since 1970."""

    def settled(self, settle: timedelta) -> bool:
        """Whether we had time enough to hear of it."""
        return time.time() - self.created > settle.total_seconds()


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the invariants are judged on."""

    databases: Mapping[str, psycopg.Connection[Row]]
    charges: Mapping[str, Charge] | None
    """By intent; None where no provider was given, and then nothing is said about it."""
    settle: timedelta = timedelta(seconds=60)
    """What is younger may still be on its way."""
    notes: list[str] = field(default_factory=list)

    def rows(self, database: str, query: LiteralString, **parameters: object) -> list[Row]:
        """Reads from one database's snapshot; `settle` is known to every query."""
        return list(self.databases[database].execute(query, {"settle": self.settle, **parameters}))

    def has(self, database: str, table: str) -> bool:
        """Whether a database has the table: services differ in what they keep."""
        found = self.rows(database, "SELECT to_regclass(%(table)s) IS NOT NULL AS found", table=table)
        return bool(found[0]["found"])


def open_databases(stack: ExitStack, urls: Mapping[str, str]) -> dict[str, psycopg.Connection[Row]]:
    """Opens each database and fixes its snapshot.

    What is written last on the way of a booking comes first: what its rows speak of is then surely in the others.
    """
    order = ["notification", "booking", "payment", "inventory", "auth"]
    opened: dict[str, psycopg.Connection[Row]] = {}
    for name in sorted(urls, key=lambda name: order.index(name) if name in order else len(order)):
        connection = stack.enter_context(psycopg.connect(urls[name], row_factory=dict_row))
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}".encode())
        connection.execute("SELECT 1")  # the first query takes the snapshot
        opened[name] = connection
    return opened


def read_charges(api_key: str, api_base: str | None) -> dict[str, Charge]:
    """Lists every charge of the provider's account, through its own SDK."""
    import stripe

    options: dict[str, Any] = {"base_addresses": {"api": api_base}} if api_base else {}
    client = stripe.StripeClient(api_key, max_network_retries=3, **options)
    found: dict[str, Charge] = {}
    for charge in _all(client):
        intent = charge["payment_intent"]
        if not intent or not charge["captured"]:
            continue
        before = found.get(intent, Charge(intent, 0, 0, charge["created"]))
        found[intent] = Charge(
            intent,
            before.captured + charge["amount_captured"],
            before.refunded + charge["amount_refunded"],
            max(before.created, charge["created"]),
        )
    return found


def _all(client: Any) -> Iterator[Mapping[str, Any]]:
    yield from client.v1.charges.list({"limit": PAGE}).auto_paging_iter()
