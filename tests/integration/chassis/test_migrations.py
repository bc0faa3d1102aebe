"""Migrations: applied once and in order, by one migrator at a time, with timeouts; drift is named."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text
from sqlalchemy.exc import OperationalError

from services.chassis.db.migrate import MigrationError, drift, upgrade
from services.chassis.idempotency.store import idempotency_table
from services.chassis.inbox import inbox_tables
from services.chassis.outbox import outbox_table
from tests.databases import Urls


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An empty package of migrations, importable by the name `planted_<test>`."""
    folder = tmp_path / f"planted_{request.node.name}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def write(package: Path, name: str, *statements: str) -> None:
    lines = "".join(f"    op.execute({statement!r})\n" for statement in statements) or "    pass\n"
    (package / f"{name}.py").write_text(f"from alembic import op\ndef upgrade():\n{lines}")


def forget(package: Path) -> None:
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]


def metadata() -> MetaData:
    tables = MetaData()
    outbox_table(tables)
    inbox_tables(tables)
    idempotency_table(tables)
    Table(
        "thing",
        tables,
        Column("thing_id", Text, primary_key=True),
        Column("tenant_id", Text, nullable=False),
        Column("size", Integer, nullable=False),
        CheckConstraint("size > 0", name="thing_size"),
    )
    return tables


def test_the_chassiss_tables_are_what_its_migration_makes(urls: Urls) -> None:
    assert drift(urls.owner, metadata()) == []


def test_drift_names_each_difference(urls: Urls) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("ALTER TABLE thing DROP CONSTRAINT thing_size, ADD COLUMN colour text")
        connection.execute("ALTER TABLE outbox DISABLE ROW LEVEL SECURITY")
        connection.execute("DROP INDEX outbox_unpublished")
    found = "\n".join(drift(urls.owner, metadata()))
    for name in ("colour", "thing_size", "outbox has a tenant_id but no row security", "outbox_unpublished"):
        assert name in found


def test_only_new_migrations_run(urls: Urls, package: Path) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_version")
    write(package, "0001_create_one", "CREATE TABLE one (id int)")
    assert upgrade(urls.owner, package.name) == ["0001_create_one"]
    assert upgrade(urls.owner, package.name) == []
    forget(package)
    write(package, "0002_create_two", "CREATE TABLE two (id int)")
    write(package, "0003_drop_one", "DROP TABLE one")
    assert upgrade(urls.owner, package.name) == ["0002_create_two", "0003_drop_one"]


def test_a_migration_that_fails_leaves_nothing_and_keeps_those_before(urls: Urls, package: Path) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_version")
    write(package, "0001_create_one", "CREATE TABLE one (id int)")
    write(package, "0002_fail", "CREATE TABLE two (id int)", "SELECT 1 / 0")
    with pytest.raises(Exception, match="division by zero"):
        upgrade(urls.owner, package.name)
    with psycopg.connect(urls.owner) as connection:
        row = connection.execute("SELECT to_regclass('one')::text, to_regclass('two')::text, (TABLE schema_version)")
        assert row.fetchone() == ("one", None, "0001")


async def test_migrators_that_start_together_run_each_migration_once(urls: Urls, package: Path) -> None:
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_version")
    write(package, "0001_create_one", "CREATE TABLE one (id int)", "SELECT pg_sleep(0.3)")
    ran = await asyncio.gather(*(asyncio.to_thread(upgrade, urls.owner, package.name) for _ in range(3)))
    assert sorted(ran) == [[], [], ["0001_create_one"]]


def test_a_migration_does_not_queue_behind_a_long_reader(
    urls: Urls, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.db.migrate.LOCK_TIMEOUT", "200ms")
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_version")
    write(package, "0001_alter", "ALTER TABLE thing ADD COLUMN colour text")
    with psycopg.connect(urls.owner) as reader:
        reader.execute("SELECT * FROM thing")
        with pytest.raises(OperationalError, match="lock timeout"):
            upgrade(urls.owner, package.name)


@pytest.mark.parametrize(
    ("names", "said"), [(("0001_a", "0001_b"), "number 0001"), (("0001_a", "later"), "not called NNNN")]
)
def test_files_out_of_order_are_refused(
    urls: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], said: str
) -> None:
    folder = tmp_path / f"planted_{names[1]}"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in names:
        write(folder, name)
    with pytest.raises(MigrationError, match=said):
        upgrade(urls.owner, folder.name)
