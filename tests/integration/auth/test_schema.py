"""What auth's database sees to by itself: row security, one open code, no drift; and what a call costs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

from services.auth.domain.rules import Rules
from services.auth.domain.tenants import Tenant, TenantStatus
from services.auth.domain.users import Profile
from services.auth.ports import Ports
from services.auth.store.secrets import MasterSecrets, Sealer
from services.auth.store.signing import Ed25519KeyMaker
from services.auth.store.tables import METADATA
from services.auth.store.work import DatabaseWork
from services.auth.usecases.registration import Register, VerifyEmail, register, verify_email
from services.auth.usecases.sessions import Login, login, refresh
from services.auth.wire import outbox_event
from services.chassis.clock import FixedClock
from services.chassis.db import Database, counting
from services.chassis.db.migrate import drift
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.databases import NewDatabase, Urls
from tests.ports.auth.fakes import MASTER_KEY, START, FakePasswords, FakeSigner

EMAIL = "cara@example.com"
PASSWORD = "harbour-lights-42"
TENANT_TABLES = [
    "users",
    "passwords",
    "vendor_owners",
    "otp_challenges",
    "sessions",
    "attempts",
    "outbox",
    "idempotency",
]


@pytest.fixture
def urls(new_database: NewDatabase) -> Urls:
    return new_database("auth")


@pytest.fixture
async def databases(urls: Urls) -> AsyncIterator[tuple[Database, Database]]:
    app, worker = Database(urls.app), Database(urls.worker)
    await app.open()
    await worker.open()
    yield app, worker
    await app.close()
    await worker.close()


@pytest.fixture
async def ports(databases: tuple[Database, Database]) -> Ports:
    return Ports(
        clock=FixedClock(START),
        work=DatabaseWork(*databases, outbox_event),
        passwords=FakePasswords(),
        secrets=MasterSecrets(MASTER_KEY),
        signer=FakeSigner(),
        key_maker=Ed25519KeyMaker(Sealer(MASTER_KEY, "signing key")),
        rules=Rules(),
    )


@pytest.fixture
async def anybody(ports: Ports) -> Principal:
    tenant = Tenant(
        tenant_id=new_id("ten", at=START),
        slug="demo",
        display_name="Demo",
        status=TenantStatus.ACTIVE,
        create_time=START,
    )
    async with ports.work.platform(tenant.tenant_id) as unit:
        await unit.tenants.add(tenant)
    return Principal("anonymous", tenant.tenant_id, "")


async def joined(ports: Ports, anybody: Principal, urls: Urls) -> None:
    profile = Profile(email=EMAIL, first_name="Cara", last_name="Customer")
    await register(ports, anybody, Register(profile, PASSWORD), None)
    with psycopg.connect(urls.auditor) as connection:
        rows = connection.execute("SELECT challenge_id, sealed FROM otp_challenges").fetchall()
    ((challenge_id, sealed),) = rows
    otp = ports.secrets.open_otp(challenge_id, sealed)
    await verify_email(ports, anybody, VerifyEmail(EMAIL, otp), None)


def test_tables_and_migrations_agree(urls: Urls) -> None:
    assert drift(urls.owner, METADATA) == []


def test_every_table_with_a_tenant_is_known_here() -> None:
    assert sorted(name for name, table in METADATA.tables.items() if "tenant_id" in table.c) == sorted(
        [*TENANT_TABLES, "tenants"]
    )


async def test_row_security_hides_every_row_of_others(ports: Ports, anybody: Principal, urls: Urls) -> None:
    await joined(ports, anybody, urls)
    await login(ports, anybody, Login(EMAIL, PASSWORD))
    with psycopg.connect(urls.auditor) as connection:
        filled = [table for table in TENANT_TABLES if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()]
    assert filled == ["users", "passwords", "otp_challenges", "sessions", "attempts", "outbox"]
    for tenant_id in ("", new_id("ten", at=START), f"{anybody.tenant_id}' OR true --"):
        with psycopg.connect(urls.app) as connection:
            connection.execute("SELECT set_config('berth.tenant', %s, false)", (tenant_id,))
            for table in TENANT_TABLES:
                assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
                assert connection.execute(f"DELETE FROM {table}").rowcount == 0


async def test_requests_cannot_write_tenants(ports: Ports, anybody: Principal, urls: Urls) -> None:
    with psycopg.connect(urls.app, autocommit=True) as connection:
        connection.execute("SELECT set_config('berth.tenant', %s, false)", (anybody.tenant_id,))
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (1,)
        assert connection.execute("UPDATE tenants SET status = 'SUSPENDED'").rowcount == 0
        assert connection.execute("DELETE FROM tenants").rowcount == 0
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("INSERT INTO tenants VALUES ('ten_x', 'x', 'X', 'ACTIVE', now())")


async def test_the_database_refuses_a_second_open_code_and_a_second_address(
    ports: Ports, anybody: Principal, urls: Urls
) -> None:
    await register(ports, anybody, Register(Profile(email=EMAIL, first_name="C", last_name="C"), PASSWORD), None)
    with psycopg.connect(urls.worker, autocommit=True) as connection:
        with pytest.raises(errors.UniqueViolation):
            connection.execute(
                "INSERT INTO otp_challenges SELECT 'otp_2', tenant_id, user_id, digest, sealed, create_time,"
                " expire_time FROM otp_challenges"
            )
        with pytest.raises(errors.UniqueViolation):
            connection.execute(
                "INSERT INTO users SELECT 'usr_2', tenant_id, email, email_key, first_name, last_name, phone, locale,"
                " status, roles, revision, 0, create_time, update_time FROM users"
            )


async def test_facts_about_a_person_are_numbered_in_their_order(ports: Ports, anybody: Principal, urls: Urls) -> None:
    await joined(ports, anybody, urls)
    with psycopg.connect(urls.auditor) as connection:
        rows = connection.execute("SELECT version, type FROM outbox ORDER BY sequence").fetchall()
    assert rows == [
        (1, "berth.auth.events.v1.UserRegistered"),
        (2, "berth.auth.events.v1.OtpIssued"),
        (3, "berth.auth.events.v1.UserVerified"),
    ]


async def test_counters_outlive_the_process(ports: Ports, anybody: Principal, urls: Urls) -> None:
    await joined(ports, anybody, urls)
    for attempt in range(10):
        restarted = replace(ports, work=ports.work, secrets=MasterSecrets(MASTER_KEY), passwords=FakePasswords())
        with pytest.raises(Exception, match="do not belong together"):
            await login(restarted, anybody, Login(EMAIL, f"wrong {attempt}"))
    with pytest.raises(Exception, match="Too many"):
        await login(ports, anybody, Login(EMAIL, PASSWORD))


async def test_statements_of_a_login_and_a_refresh(
    ports: Ports, anybody: Principal, urls: Urls, databases: tuple[Database, Database]
) -> None:
    await joined(ports, anybody, urls)
    with counting(databases[0]) as counter:
        tokens, _ = await login(ports, anybody, Login(EMAIL, PASSWORD))
    # Attempt, person, hash; then person, tenant, session, attempt, vendors.
    assert len(counter.statements) == 8
    with counting(databases[0]) as counter:
        await refresh(ports, anybody, tokens.refresh_token)
    # Session, its rotation, person, tenant, vendors.
    assert len(counter.statements) == 5


async def test_lookups_use_their_indexes(ports: Ports, anybody: Principal, urls: Urls) -> None:
    with psycopg.connect(urls.worker) as connection:
        connection.execute("SET enable_seqscan = off")
        for query, index in [
            ("SELECT * FROM users WHERE tenant_id = 't' AND email_key = 'e'", "users_email_key"),
            ("SELECT * FROM otp_challenges WHERE user_id = 'u' AND end_time IS NULL", "otp_challenges_open"),
            ("SELECT * FROM tenants WHERE slug = 's'", "tenants_slug_key"),
            ("DELETE FROM attempts WHERE window_start < now()", "attempts_window_start"),
        ]:
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}").fetchall())
            assert index in plan, plan


async def test_a_code_ends_with_its_time(ports: Ports, anybody: Principal, urls: Urls) -> None:
    await register(ports, anybody, Register(Profile(email=EMAIL, first_name="C", last_name="C"), PASSWORD), None)
    with psycopg.connect(urls.auditor) as connection:
        ((expire_time,),) = connection.execute("SELECT expire_time FROM otp_challenges").fetchall()
    assert expire_time == START + timedelta(minutes=10)
