"""Owns the double's SQLite file: objects, events to deliver, saved idempotent results, and the append-only ledger."""

import json
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

KEYS_LIVE_SECONDS = 24 * 3600

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  created INTEGER NOT NULL,
  parent TEXT,
  body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, created, seq);
CREATE INDEX IF NOT EXISTS objects_by_parent ON objects (parent, kind, seq);
CREATE TABLE IF NOT EXISTS saved_results (
  key TEXT PRIMARY KEY,
  endpoint TEXT NOT NULL,
  parameters TEXT NOT NULL,
  request_id TEXT NOT NULL,
  status INTEGER NOT NULL,
  body TEXT NOT NULL,
  created INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  event TEXT NOT NULL,
  due REAL NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  manner TEXT NOT NULL DEFAULT 'plain',
  done INTEGER NOT NULL DEFAULT 0,
  last_status INTEGER
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE done = 0;
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);
CREATE TABLE IF NOT EXISTS ledger (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  time INTEGER NOT NULL,
  kind TEXT NOT NULL,
  amount INTEGER NOT NULL,
  currency TEXT NOT NULL,
  payment_intent TEXT NOT NULL,
  charge TEXT NOT NULL,
  refund TEXT,
  fee INTEGER NOT NULL,
  metadata TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS ledger_keeps BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS ledger_stays BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""


class SavedResult(NamedTuple):
    """What an idempotency key replays."""

    endpoint: str
    parameters: str
    request_id: str
    status: int
    body: str


class Delivery(NamedTuple):
    """One webhook on its way."""

    id: int
    event: str
    attempt: int
    manner: str


class Store:
    """All state; every request is one transaction, and nothing is awaited inside it."""

    def __init__(self, data_dir: Path | None) -> None:
        if data_dir is not None:
            data_dir.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(str(data_dir / "stripe.sqlite") if data_dir else ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; only a machine that loses power may, which a stand-in can bear.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # Objects

    def put(self, item: dict[str, Any], parent: str | None = None) -> None:
        self._db.execute(
            "INSERT INTO objects (id, kind, created, parent, body) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET body = excluded.body, parent = coalesce(excluded.parent, parent)",
            (item["id"], item["object"], item.get("created", 0), parent, json.dumps(item)),
        )

    def get(self, object_id: str, kind: str | None = None) -> dict[str, Any] | None:
        row = self._db.execute("SELECT kind, body FROM objects WHERE id = ?", (object_id,)).fetchone()
        if row is None or (kind is not None and row[0] != kind):
            return None
        found: dict[str, Any] = json.loads(row[1])
        return found

    def listed(
        self,
        kind: str,
        *,
        limit: int,
        parent: str | None = None,
        created: tuple[int, int] | None = None,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Newest first; with `ending_before`, the ones just newer than it, in the same order."""
        clauses, values = ["kind = ?"], [kind]
        numbers: list[Any] = []
        if parent is not None:
            clauses.append("parent = ?")
            values.append(parent)
        if created is not None:
            clauses.append("created BETWEEN ? AND ?")
            numbers.extend(created)
        if starting_after is not None:
            clauses.append("seq < (SELECT seq FROM objects WHERE id = ?)")
            numbers.append(starting_after)
        if ending_before is not None:
            clauses.append("seq > (SELECT seq FROM objects WHERE id = ?)")
            numbers.append(ending_before)
        order = "ASC" if ending_before is not None else "DESC"
        rows = self._db.execute(
            f"SELECT body FROM objects WHERE {' AND '.join(clauses)} ORDER BY seq {order} LIMIT ?",  # noqa: S608 - the clauses are the constants above
            [*values, *numbers, limit],
        ).fetchall()
        for (body,) in reversed(rows) if ending_before is not None else rows:
            yield json.loads(body)

    def remove(self, object_id: str) -> None:
        self._db.execute("DELETE FROM objects WHERE id = ?", (object_id,))

    # Idempotency

    def saved_result(self, key: str, now: int) -> SavedResult | None:
        row = self._db.execute(
            "SELECT endpoint, parameters, request_id, status, body FROM saved_results WHERE key = ? AND created >= ?",
            (key, now - KEYS_LIVE_SECONDS),
        ).fetchone()
        return SavedResult(*row) if row else None

    def save_result(self, key: str, result: SavedResult, now: int) -> None:
        # What is there already has outlived its time: else it would have been replayed.
        self._db.execute("INSERT OR REPLACE INTO saved_results VALUES (?, ?, ?, ?, ?, ?, ?)", (key, *result, now))

    # Webhooks

    def enqueue(self, event: str, due: float, manner: str = "plain") -> None:
        self._db.execute("INSERT INTO deliveries (event, due, manner) VALUES (?, ?, ?)", (event, due, manner))

    def due(self, now: float, limit: int, *, but: Collection[int]) -> list[Delivery]:
        rows = self._db.execute(
            "SELECT id, event, attempt, manner FROM deliveries WHERE done = 0 AND due <= ? "
            "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY due, id LIMIT ?",
            (now, json.dumps(list(but)), limit),
        )
        return [Delivery(*row) for row in rows]

    def next_due(self) -> float | None:
        (due,) = self._db.execute("SELECT min(due) FROM deliveries WHERE done = 0").fetchone()
        return None if due is None else float(due)

    def retry(self, delivery: int, due: float, status: int | None) -> None:
        self._db.execute(
            "UPDATE deliveries SET attempt = attempt + 1, due = ?, last_status = ? WHERE id = ?",
            (due, status, delivery),
        )

    def finish(self, delivery: int, status: int | None) -> None:
        self._db.execute(
            "UPDATE deliveries SET attempt = attempt + 1, done = 1, last_status = ? WHERE id = ?", (status, delivery)
        )

    def pending_deliveries(self, event: str) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM deliveries WHERE done = 0 AND event = ?", (event,)).fetchone()
        return int(count)

    def deliveries(self, event: str | None) -> list[dict[str, Any]]:
        cursor = self._db.execute(
            "SELECT id, event, due, attempt, manner, done, last_status FROM deliveries "
            "WHERE (?1 IS NULL AND done = 0) OR event = ?1 ORDER BY id LIMIT 1000",
            (event,),
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    # The ledger

    def record(
        self,
        kind: str,
        amount: int,
        charge: dict[str, Any],
        *,
        time: int,
        refund: str | None = None,
        fee: int = 0,
    ) -> None:
        self._db.execute(
            "INSERT INTO ledger (time, kind, amount, currency, payment_intent, charge, refund, fee, metadata) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                time,
                kind,
                amount,
                charge["currency"],
                charge["payment_intent"],
                charge["id"],
                refund,
                fee,
                json.dumps(charge["metadata"]),
            ),
        )

    def ledger(self, after: int, limit: int, payment_intent: str | None) -> list[dict[str, Any]]:
        cursor = self._db.execute(
            "SELECT * FROM ledger WHERE seq > ? AND (?2 IS NULL OR payment_intent = ?2) ORDER BY seq LIMIT ?3",
            (after, payment_intent, limit),
        )
        names = [column[0] for column in cursor.description]
        entries = [dict(zip(names, row, strict=True)) for row in cursor]
        for entry in entries:
            entry["metadata"] = json.loads(entry["metadata"])
        return entries
