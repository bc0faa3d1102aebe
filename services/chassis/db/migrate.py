"""Brings a service's schema to its newest version, and tells where database and tables have drifted apart."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from zlib import crc32

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap
from sqlalchemy import CheckConstraint, Connection, MetaData, create_engine, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.pool import NullPool

LOCK_TIMEOUT = "5s"  # a migration that waits longer for a table would hold up everybody behind it
STATEMENT_TIMEOUT = "60s"
OTHER_MIGRATOR_TIMEOUT = "120s"
VERSION_TABLE = "schema_version"

_FILE = re.compile(r"^(\d{4})_[a-z0-9_]+$")


class MigrationError(Exception):
    """The migrations themselves are wrong."""


def upgrade(url: str, package: str) -> list[str]:
    """Run, as the owner, the migrations of `package` that the database has not seen; return their names.

    Migrators that start together run one after the other; each migration is its own transaction.
    """
    scripts = _scripts(package)
    directory = ScriptDirectory(str(importlib.import_module(package).__path__[0]))
    directory.revision_map = RevisionMap(lambda: scripts)
    applied: list[str] = []

    def steps(current: tuple[str, ...], _context: MigrationContext) -> list[RevisionStep]:
        newest = max(current, default="")
        new = [script for script in reversed(list(directory.walk_revisions())) if script.revision > newest]
        applied.extend(_name(script.module) for script in new)
        return [MigrationStep.upgrade_from_script(directory.revision_map, script) for script in new]

    with _connected(url) as connection:
        _lock_out_others(connection, package)
        environment = EnvironmentContext(Config(), directory, fn=steps)
        with environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE, transaction_per_migration=True)
            with environment.begin_transaction():
                environment.run_migrations()
    return applied


def drift(url: str, metadata: MetaData) -> list[str]:
    """Where the database differs from the tables: empty is right. Tenant tables without row security count too."""
    with _connected(url) as connection:
        context = MigrationContext.configure(
            connection,
            opts={"version_table": VERSION_TABLE, "compare_type": True, "include_object": _is_ours},
        )
        found = [_sentence(difference) for difference in compare_metadata(context, metadata)]
        found += _missing_constraints(connection, metadata)
        found += _without_row_security(connection, metadata)
    return found


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = create_engine(_sqlalchemy_url(url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _sqlalchemy_url(url: str) -> str:
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _lock_out_others(connection: Connection, package: str) -> None:
    # The lock ends with the connection, so a killed migrator holds up nobody.
    connection.execute(text(f"SET lock_timeout = '{OTHER_MIGRATOR_TIMEOUT}'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": crc32(f"migrate {package}".encode())})
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
    connection.commit()


def _scripts(package: str) -> list[Script]:
    """Alembic's view of the package: the files' numbers alone say what follows what, so histories cannot fork."""
    scripts: list[Script] = []
    previous: str | None = None
    for module in _modules(package):
        number = _name(module)[:4]
        if number == previous:
            raise MigrationError(f"{package} has two migrations with the number {number}.")
        if getattr(module, "revision", number) != number:
            raise MigrationError(f"{module.__name__} names another revision than its file does.")
        vars(module).update(revision=number, down_revision=previous)
        scripts.append(Script(module, number, str(module.__file__)))
        previous = number
    return scripts


def _modules(package: str) -> list[ModuleType]:
    parent = importlib.import_module(package)
    names = sorted(found.name for found in pkgutil.iter_modules(parent.__path__))
    strange = [name for name in names if not _FILE.match(name)]
    if strange:
        raise MigrationError(f"{package}.{strange[0]} is not called NNNN_what_it_does.")
    return [importlib.import_module(f"{package}.{name}") for name in names]


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _is_ours(_object: object, name: str | None, kind: str, *_rest: object) -> bool:
    return not (kind == "table" and name == VERSION_TABLE)


def _sentence(difference: object) -> str:
    if isinstance(difference, list):  # several changes of one column
        return "; ".join(_sentence(part) for part in difference)
    if isinstance(difference, tuple):
        verb, *rest = difference
        return f"{verb}: " + ", ".join(str(part) for part in rest if part is not None)
    return str(difference)


def _missing_constraints(connection: Connection, metadata: MetaData) -> list[str]:
    """Named CHECK and EXCLUDE constraints, which Alembic does not compare; the database may have more of them."""
    rows = connection.execute(
        text(
            "SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid"
            " WHERE k.contype IN ('c', 'x') AND c.relnamespace = 'public'::regnamespace"
        )
    )
    there = {(table, name) for table, name in rows}
    wanted = {
        (table.name, str(constraint.name))
        for table in metadata.tables.values()
        for constraint in table.constraints
        if constraint.name is not None and isinstance(constraint, CheckConstraint | ExcludeConstraint)
    }
    return [f"constraint {name} of {table} is not in the database" for table, name in sorted(wanted - there)]


def _without_row_security(connection: Connection, metadata: MetaData) -> list[str]:
    secured = set(
        connection.execute(
            text(
                "SELECT c.relname FROM pg_class c WHERE c.relrowsecurity"
                " AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)"
            )
        ).scalars()
    )
    return [
        f"table {table.name} has a tenant_id but no row security"
        for table in sorted(metadata.tables.values(), key=lambda table: table.name)
        if "tenant_id" in table.columns and table.name not in secured
    ]
