"""Wrong input over gRPC: a clear refusal that names the field, nothing half-written, never a fault of ours."""

from __future__ import annotations

import subprocess
from typing import Any

import grpc
import psycopg
import pytest
from berth.auth.v1 import auth_service_pb2 as auth
from berth.auth.v1 import tenant_service_pb2 as tenancy
from berth.auth.v1 import user_service_pb2
from berth.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from berth.auth.v1.tenant_service_pb2_grpc import TenantServiceStub
from berth.auth.v1.user_service_pb2_grpc import UserServiceStub

from services.chassis import paging
from tests.integration.auth.conftest import Dial, Running
from tests.integration.auth.conftest import auth as command
from tests.integration.auth.test_journey import (
    DEMO,
    PASSWORD,
    join,
    log_in,
    new_email,
    registration,
)
from tests.integration.rpc.serving import refusal


def users(running: Running) -> int:
    with psycopg.connect(running.urls.auditor) as connection:
        (count,) = connection.execute("SELECT count(*) FROM users").fetchone() or (0,)
    return int(count)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", ""),
        ("email", "no-at-sign"),
        ("email", "a@example.com\r\nBcc: b@example.com"),
        ("email", f"{'a' * 250}@example.com"),
        ("email", "a\x00@example.com"),
        ("password", ""),
        ("password", "nine.char"),
        ("password", "x" * 129),
        ("firstName", ""),
        ("firstName", "Cara\x00"),
        ("firstName", "<script>"),
        ("firstName", "x" * 101),
        ("lastName", "a\r\nb"),
        ("phone", "004940123456"),
        ("phone", "+0123456"),
        ("locale", "english"),
    ],
)
async def test_a_registration_with_one_wrong_field_names_it(
    running: Running, dial: Dial, field: str, value: str
) -> None:
    before = users(running)
    name = {"firstName": "first_name", "lastName": "last_name"}.get(field, field)
    request = registration(new_email())
    setattr(request, name, value)
    async with dial("gateway") as channel:
        refused = await refusal(AuthServiceStub(channel).Register(request, metadata=DEMO))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert {violation.field for violation in refused.violations} == {field}
    assert users(running) == before


@pytest.mark.parametrize("name", ["Zoë", "محمد", "\u202eevil", "O'Hara; DROP TABLE users", "=cmd()", "😀" * 50])
async def test_strange_names_are_only_names(running: Running, dial: Dial, name: str) -> None:
    person = await join(running, dial)
    async with dial("gateway") as channel:
        request = user_service_pb2.UpdateMeRequest(first_name=name)
        changed = await UserServiceStub(channel).UpdateMe(request, metadata=person.metadata)
    assert changed.first_name == name


@pytest.mark.parametrize("password", ["pass\x00word-with-nul", "пароль-из-десяти", "😀" * 10, " " * 10])
async def test_strange_passwords_are_only_passwords(running: Running, dial: Dial, password: str) -> None:
    email = new_email()
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        await stub.Register(registration(email, password=password), metadata=DEMO)
        known = await refusal(stub.Login(auth.LoginRequest(email=email, password=password), metadata=DEMO))
    assert known.reason == "EMAIL_NOT_VERIFIED", "it was the right one"


async def test_every_refusal_of_auth_is_as_its_contract_says(running: Running, dial: Dial) -> None:
    person = await join(running, dial)
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        weak = await refusal(stub.Register(registration(new_email(), password="password123"), metadata=DEMO))
        assert (weak.code, weak.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PASSWORD_TOO_WEAK")
        assert [violation.field for violation in weak.violations] == ["password"]
        wrong = auth.LoginRequest(email=person.email, password="not the password")
        nobody = auth.LoginRequest(email="nobody@example.com", password=PASSWORD)
        said = [await refusal(stub.Login(request, metadata=DEMO)) for request in (wrong, nobody)]
        assert {(answer.code, answer.reason, answer.message) for answer in said} == {
            (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_INVALID", said[0].message)
        }
        with psycopg.connect(running.urls.worker) as connection:
            connection.execute("UPDATE users SET status = 'SUSPENDED' WHERE user_id = %s", (person.user.user_id,))
        right = auth.LoginRequest(email=person.email, password=PASSWORD)
        suspended = await refusal(stub.Login(right, metadata=DEMO))
        assert (suspended.code, suspended.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ACCOUNT_SUSPENDED")


@pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
async def test_bad_idempotency_keys(running: Running, dial: Dial, key: str) -> None:
    async with dial("gateway") as channel:
        metadata = (*DEMO, ("idempotency-key", key))
        refused = await refusal(AuthServiceStub(channel).Register(registration(new_email()), metadata=metadata))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_INVALID")


@pytest.mark.parametrize("slug", ["", "nowhere", "DEMO", "demo,demo", "x" * 500, "../demo"])
async def test_unknown_tenants(running: Running, dial: Dial, slug: str) -> None:
    async with dial("gateway") as channel:
        login = AuthServiceStub(channel).Login(
            auth.LoginRequest(email="a@example.com", password=PASSWORD), metadata=(("berth-tenant", slug),)
        )
        refused = await refusal(login)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_UNKNOWN")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ses_1.1.x", "\x00", "x" * 513, "🎟"])
async def test_refresh_tokens_of_nobody(running: Running, dial: Dial, token: str) -> None:
    async with dial("gateway") as channel:
        refused = await refusal(
            AuthServiceStub(channel).Refresh(auth.RefreshRequest(refresh_token=token), metadata=DEMO)
        )
    assert refused.reason in {"INVALID_FIELD", "REFRESH_TOKEN_INVALID"}


@pytest.mark.parametrize("otp", ["", "12345", "1234567", "12345a", "１２３４５６", "123456\n"])
async def test_codes_that_cannot_be(running: Running, dial: Dial, otp: str) -> None:
    async with dial("gateway") as channel:
        request = auth.VerifyEmailRequest(email="a@example.com", otp=otp)
        refused = await refusal(AuthServiceStub(channel).VerifyEmail(request, metadata=DEMO))
    assert refused.reason == "INVALID_FIELD"


def forged_page_tokens() -> list[str]:
    cursors: list[dict[str, Any]] = [{}, {"after": 1}, {"after": None}, {"after": "ten_\x00"}, {"after": "usr_x"}]
    return ["x", "🎟", "AAAA", *(paging.encode(cursor, b"tenants") for cursor in cursors), "x" * 1_025]


async def test_page_sizes_and_tokens(running: Running, dial: Dial) -> None:
    platform = await log_in(dial, "platform@demo.berth.example", "harbour-pilot-42")
    async with dial("gateway") as channel:
        tenants = TenantServiceStub(channel)
        for token in forged_page_tokens():
            request = tenancy.ListTenantsRequest(page_token=token)
            refused = await refusal(tenants.ListTenants(request, metadata=platform.metadata))
            assert refused.reason in {"PAGE_TOKEN_INVALID", "INVALID_FIELD"}
        negative = tenancy.ListTenantsRequest(page_size=-1)
        assert (await refusal(tenants.ListTenants(negative, metadata=platform.metadata))).reason == "INVALID_FIELD"
        huge = await tenants.ListTenants(tenancy.ListTenantsRequest(page_size=10**9), metadata=platform.metadata)
        assert len(huge.tenants) >= 1
        for tenant_id in ("", "ten_", "usr_01kdwcj2m1f1xvax08t1tcm835", "ten_01kdwcj2m0f5k8xwatxbn3cw0\x00"):
            named = tenancy.GetTenantRequest(tenant_id=tenant_id)
            assert (await refusal(tenants.GetTenant(named, metadata=platform.metadata))).reason == "INVALID_FIELD"
        for slug in ("", "ab", "Ab-c", "-abc", "abc-", "x" * 41, "a_b", "a b"):
            opened = tenancy.CreateTenantRequest(slug=slug, display_name="X")
            assert (await refusal(tenants.CreateTenant(opened, metadata=platform.metadata))).reason == "INVALID_FIELD"


def test_another_master_key_is_refused_with_a_sentence(running: Running) -> None:
    environment = running.environment | {"BERTH_MASTER_KEY": "A" * 43 + "=", "BERTH_LISTEN": "127.0.0.1:0"}
    ended = subprocess.run(
        command(environment, "serve"), env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    sentence = "BERTH_MASTER_KEY is not the one that this database's signing keys are sealed with."
    assert ended.stderr.strip().splitlines()[-1] == sentence


def test_demo_data_is_not_planted_in_production(running: Running) -> None:
    environment = running.environment | {"BERTH_ENVIRONMENT": "production", "BERTH_ARGON2_MEMORY_KIB": "19456"}
    ended = subprocess.run(
        command(environment, "seed", "--file", "infra/local/demo.toml"),
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "only where BERTH_ENVIRONMENT is local" in ended.stderr


def test_the_waiting_key_can_be_hastened_by_command(running: Running) -> None:
    hastened = subprocess.run(
        command(running.environment, "rotate-keys"),
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert hastened.stdout.startswith("The next key signs from ")
