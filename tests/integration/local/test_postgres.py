"""The databases of the mesh: who may connect where, what each role may do, and that data survives a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.local import ports, postgres, topology
from infra.local.postgres import Server

MESH = topology.read()
PASSWORDS = {role: f"it's {role}" for role in postgres.roles(MESH)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("cluster") / "postgres"
    with postgres.running(directory, ports.spare(), "a/strange:pass@word", durable=False) as running:
        postgres.provision(running, MESH, PASSWORDS)
        postgres.provision(running, MESH, PASSWORDS)  # a second start finds everything and refuses nothing
        with psycopg.connect(url(running, "booking_owner", "booking")) as owner:
            owner.execute("CREATE EXTENSION btree_gist; CREATE EXTENSION pg_trgm")
            owner.execute("CREATE TABLE thing (tenant_id text, n int GENERATED ALWAYS AS IDENTITY)")
            owner.execute("ALTER TABLE thing ENABLE ROW LEVEL SECURITY")
            owner.execute("CREATE POLICY tenant ON thing USING (tenant_id = current_setting('berth.tenant', true))")
            owner.execute("CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1")
            owner.execute("INSERT INTO thing (tenant_id) VALUES ('a'), ('b')")
        yield running


def url(server: Server, role: str, database: str) -> str:
    return server.url(role, PASSWORDS[role], database)


@pytest.mark.parametrize("kind", ["owner", "app", "worker"])
@pytest.mark.parametrize("database", ["auth", "inventory", "payment", "notification", "postgres", "template1"])
def test_no_role_of_booking_connects_elsewhere(server: Server, kind: str, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url(server, f"booking_{kind}", database))


def test_a_wrong_password_is_refused(server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("booking_app", "guess", "booking"))


def test_the_app_role_sees_its_tenant_only_and_the_worker_all(server: Server) -> None:
    with psycopg.connect(url(server, "booking_app", "booking")) as app:
        assert app.execute("SELECT count(*) FROM thing").fetchone() == (0,)
        app.execute("SELECT set_config('berth.tenant', 'a', true)")
        assert app.execute("SELECT tenant_id FROM thing").fetchall() == [("a",)]
        assert app.execute("SELECT one()").fetchone() == (1,)
    with psycopg.connect(url(server, "booking_worker", "booking")) as worker:
        assert worker.execute("SELECT count(*) FROM thing").fetchone() == (2,)


@pytest.mark.parametrize("role", ["booking_app", "booking_worker"])
@pytest.mark.parametrize("statement", ["CREATE TABLE other (n int)", "DROP TABLE thing", "TRUNCATE thing"])
def test_requests_and_workers_change_no_schema(server: Server, role: str, statement: str) -> None:
    with (
        psycopg.connect(url(server, role, "booking")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_auditor_reads_every_tenant_and_writes_nothing(server: Server) -> None:
    with psycopg.connect(url(server, "auditor", "booking")) as auditor:
        assert auditor.execute("SELECT count(*) FROM thing").fetchone() == (2,)
        auditor.rollback()
        auditor.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            auditor.execute("DELETE FROM thing")


def test_a_second_start_finds_the_data(tmp_path: Path) -> None:
    port = ports.spare()
    with postgres.running(tmp_path / "data", port, "pw") as first, psycopg.connect(first.superuser()) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    with postgres.running(tmp_path / "data", port, "pw") as second, psycopg.connect(second.superuser()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
