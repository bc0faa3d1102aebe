"""The whole way by generated stubs over mTLS: register, verify, log in, refresh, log out, and what others may ask."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Any

import grpc
import jwt
import psycopg
from berth.auth.events.v1 import events_pb2 as events
from berth.auth.v1 import auth_service_pb2 as auth
from berth.auth.v1 import tenant_service_pb2 as tenancy
from berth.auth.v1 import user_pb2, user_service_pb2
from berth.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from berth.auth.v1.tenant_service_pb2_grpc import DirectoryServiceStub, KeyServiceStub, TenantServiceStub
from berth.auth.v1.user_service_pb2_grpc import UserServiceStub
from google.protobuf.field_mask_pb2 import FieldMask
from jwt import PyJWK

from tests.integration.auth.conftest import Dial, Running
from tests.integration.rpc.serving import refusal, refused

TENANT = "ten_01kdwcj2m0f5k8xwatxbn3cw00"
CUSTOMER = "usr_01kdwcj2m1f1xvax08t1tcm835"
OWNER = "usr_01kdwcj2m2favr1c0xhades96a"
VENDOR = "vnd_01kdwcj2m4e28bt3ghmcnm09d1"
PASSWORD = "a-long-enough-sentence"
DEMO = (("berth-tenant", "demo"),)
AS_SERVICE = (("berth-tenant", TENANT),)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """Somebody with an account."""

    email: str
    user: user_pb2.User
    tokens: auth.TokenPair

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.tokens.access_token}"), *DEMO)


def new_email() -> str:
    return f"person.{next(_numbers)}@example.com"


def registration(email: str, **changes: str) -> auth.RegisterRequest:
    told = {"email": email, "password": PASSWORD, "first_name": "Cara", "last_name": "Customer"}
    return auth.RegisterRequest(**(told | changes))


async def patiently(
    call: Any, request: auth.RegisterRequest, metadata: tuple[tuple[str, str], ...]
) -> auth.RegisterResponse:
    """Register as a client should: whoever is told that too many passwords are being hashed asks again when told to."""
    for _ in range(5):
        try:
            answer: auth.RegisterResponse = await call(request, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            said = refused(error)
            if said.reason != "OVERLOADED" or said.retry_seconds is None:
                raise
            await asyncio.sleep(said.retry_seconds)
        else:
            return answer
    raise AssertionError("refused five times")


def issued(running: Running, email: str) -> list[events.OtpIssued]:
    """What was published about codes for the address, oldest first."""
    with psycopg.connect(running.urls.auditor) as connection:
        rows = connection.execute(
            "SELECT o.payload FROM outbox o JOIN users u ON u.user_id = o.key"
            " WHERE u.email_key = %s AND o.type = 'berth.auth.events.v1.OtpIssued' ORDER BY o.sequence",
            (email,),
        ).fetchall()
    return [events.OtpIssued.FromString(payload) for (payload,) in rows]


async def mailed_otp(running: Running, dial: Dial, email: str) -> str:
    """The code as notification would mail it."""
    async with dial("notification") as channel:
        request = tenancy.GetOtpRequest(challenge_id=issued(running, email)[-1].challenge_id)
        return (await DirectoryServiceStub(channel).GetOtp(request, metadata=AS_SERVICE)).otp


async def join(running: Running, dial: Dial) -> Person:
    """A new, verified, logged-in person."""
    email = new_email()
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        await stub.Register(registration(email), metadata=DEMO)
        otp = await mailed_otp(running, dial, email)
        await stub.VerifyEmail(auth.VerifyEmailRequest(email=email, otp=otp), metadata=DEMO)
        answer = await stub.Login(auth.LoginRequest(email=email, password=PASSWORD), metadata=DEMO)
    return Person(email, answer.user, answer.tokens)


async def log_in(dial: Dial, email: str, password: str) -> Person:
    async with dial("gateway") as channel:
        request = auth.LoginRequest(email=email, password=password, device_name="test")
        answer = await AuthServiceStub(channel).Login(request, metadata=DEMO)
    return Person(email, answer.user, answer.tokens)


async def test_from_nobody_to_somebody_and_out_again(running: Running, dial: Dial) -> None:
    email = new_email()
    async with dial("gateway") as channel:
        stub, me = AuthServiceStub(channel), UserServiceStub(channel)
        await stub.Register(registration(email.upper(), phone="+4940123456", locale="de-DE"), metadata=DEMO)
        not_yet = await refusal(stub.Login(auth.LoginRequest(email=email, password=PASSWORD), metadata=DEMO))
        assert (not_yet.code, not_yet.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EMAIL_NOT_VERIFIED")

        otp = await mailed_otp(running, dial, email)
        wrong = auth.VerifyEmailRequest(email=email, otp=f"{(int(otp) + 1) % 1_000_000:06d}")
        refused_code = await refusal(stub.VerifyEmail(wrong, metadata=DEMO))
        assert (refused_code.code, refused_code.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "OTP_INVALID")
        verified = await stub.VerifyEmail(auth.VerifyEmailRequest(email=email, otp=otp), metadata=DEMO)
        assert verified.user.status == user_pb2.User.ACTIVE

        login = await stub.Login(auth.LoginRequest(email=email, password=PASSWORD), metadata=DEMO)
        bearer = (("authorization", f"Bearer {login.tokens.access_token}"),)
        got = await me.GetMe(user_service_pb2.GetMeRequest(), metadata=bearer)
        assert (got.email, got.phone, got.locale, list(got.roles)) == (
            email.upper(),
            "+4940123456",
            "de-DE",
            ["customer"],
        )

        first = login.tokens.refresh_token
        second = (await stub.Refresh(auth.RefreshRequest(refresh_token=first), metadata=DEMO)).tokens.refresh_token
        lost = (await stub.Refresh(auth.RefreshRequest(refresh_token=first), metadata=DEMO)).tokens.refresh_token
        assert lost == second != first
        third = (await stub.Refresh(auth.RefreshRequest(refresh_token=second), metadata=DEMO)).tokens.refresh_token
        reused = await refusal(stub.Refresh(auth.RefreshRequest(refresh_token=first), metadata=DEMO))
        assert (reused.code, reused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_REUSED")
        over = await refusal(stub.Refresh(auth.RefreshRequest(refresh_token=third), metadata=DEMO))
        assert (over.code, over.reason) == (grpc.StatusCode.UNAUTHENTICATED, "REFRESH_TOKEN_INVALID")

        again = await stub.Login(auth.LoginRequest(email=email, password=PASSWORD), metadata=DEMO)
        for _ in range(2):
            await stub.Logout(auth.LogoutRequest(refresh_token=again.tokens.refresh_token), metadata=DEMO)
        out = await refusal(stub.Refresh(auth.RefreshRequest(refresh_token=again.tokens.refresh_token), metadata=DEMO))
        assert out.reason == "REFRESH_TOKEN_INVALID"


async def test_access_tokens_are_believed_by_the_published_keys(running: Running, dial: Dial) -> None:
    person = await log_in(dial, "owner@demo.berth.example", "harbour-master-42")
    async with dial("booking") as channel:
        jwks = await KeyServiceStub(channel).GetJwks(tenancy.GetJwksRequest())
    kid = jwt.get_unverified_header(person.tokens.access_token)["kid"]
    assert len(jwks.keys) == 2
    (key,) = [key for key in jwks.keys if key.kid == kid]
    jwk = {field.name: value for field, value in key.ListFields()}
    claims = jwt.decode(person.tokens.access_token, PyJWK(jwk), algorithms=["EdDSA"], audience="berth", issuer="berth")
    assert (claims["sub"], claims["ten"], claims["vnd"]) == (OWNER, TENANT, [VENDOR])
    assert claims["exp"] - claims["iat"] == 300
    assert "resources.manage" in claims["scope"].split()


async def test_one_key_fifty_times_registers_once(running: Running, dial: Dial) -> None:
    email = new_email()
    metadata = (*DEMO, ("idempotency-key", "register-once"))
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        request = registration(email)
        answers = await asyncio.gather(*(patiently(stub.Register, request, metadata) for _ in range(50)))
        assert len({answer.SerializeToString() for answer in answers}) == 1
        assert len(issued(running, email)) == 1
        other = await refusal(stub.Register(registration(email, first_name="Eve"), metadata=metadata))
        assert (other.code, other.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IDEMPOTENCY_KEY_REUSED")


async def test_a_known_address_is_not_told_but_mailed(running: Running, dial: Dial) -> None:
    person = await join(running, dial)
    async with dial("gateway") as channel:
        await AuthServiceStub(channel).Register(registration(person.email, first_name="Eve"), metadata=DEMO)
        unchanged = await UserServiceStub(channel).GetMe(user_service_pb2.GetMeRequest(), metadata=person.metadata)
    assert unchanged.first_name == "Cara"
    told = issued(running, person.email)[-1]
    assert (told.purpose, told.challenge_id) == (events.OtpIssued.ALREADY_REGISTERED, "")


async def test_events_belong_to_the_trace_of_their_call(running: Running, dial: Dial) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    metadata = (*DEMO, ("traceparent", f"00-{trace}-b7ad6b7169203331-01"))
    async with dial("gateway") as channel:
        await AuthServiceStub(channel).Register(registration(new_email()), metadata=metadata)
    with psycopg.connect(running.urls.auditor) as connection:
        traced = connection.execute("SELECT type FROM outbox WHERE traceparent LIKE %s", (f"00-{trace}-%",)).fetchall()
    assert len(traced) == 2


async def test_thirty_guesses_at_once_are_five(running: Running, dial: Dial) -> None:
    email = new_email()
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        await stub.Register(registration(email), metadata=DEMO)
        otp = await mailed_otp(running, dial, email)
        wrong = auth.VerifyEmailRequest(email=email, otp=f"{(int(otp) + 1) % 1_000_000:06d}")
        said = await asyncio.gather(*(refusal(stub.VerifyEmail(wrong, metadata=DEMO)) for _ in range(30)))
        assert sorted({answer.reason for answer in said}) == ["OTP_INVALID", "TOO_MANY_ATTEMPTS"]
        assert [answer.reason for answer in said].count("OTP_INVALID") == 5
        limited = next(answer for answer in said if answer.reason == "TOO_MANY_ATTEMPTS")
        assert limited.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert 500 < (limited.retry_seconds or 0) <= 600
        right = auth.VerifyEmailRequest(email=email, otp=otp)
        assert (await refusal(stub.VerifyEmail(right, metadata=DEMO))).reason == "TOO_MANY_ATTEMPTS"


async def test_parallel_refreshes_get_one_pair(running: Running, dial: Dial) -> None:
    person = await join(running, dial)
    request = auth.RefreshRequest(refresh_token=person.tokens.refresh_token)
    async with dial("gateway") as channel:
        stub = AuthServiceStub(channel)
        answers = await asyncio.gather(*(stub.Refresh(request, metadata=DEMO) for _ in range(20)))
    assert len({answer.SerializeToString() for answer in answers}) == 1


async def test_changing_the_profile(running: Running, dial: Dial) -> None:
    person = await join(running, dial)
    async with dial("gateway") as channel:
        me = UserServiceStub(channel)
        changed = await me.UpdateMe(
            user_service_pb2.UpdateMeRequest(first_name="Carola", etag=person.user.etag), metadata=person.metadata
        )
        assert (changed.first_name, changed.last_name) == ("Carola", "Customer")
        stale = user_service_pb2.UpdateMeRequest(first_name="Eve", etag=person.user.etag)
        refused_stale = await refusal(me.UpdateMe(stale, metadata=person.metadata))
        assert (refused_stale.code, refused_stale.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
        foreign = user_service_pb2.UpdateMeRequest(update_mask=FieldMask(paths=["email"]))
        refused_path = await refusal(me.UpdateMe(foreign, metadata=person.metadata))
        assert (refused_path.reason, dict(refused_path.infos[0].metadata)) == ("UPDATE_MASK_INVALID", {"path": "email"})


async def test_the_directory_answers_those_it_names_only(running: Running, dial: Dial) -> None:
    async with dial("inventory") as channel:
        directory = DirectoryServiceStub(channel)
        tenant = await directory.ResolveTenant(tenancy.ResolveTenantRequest(slug="demo"))
        assert (tenant.tenant_id, tenant.status) == (TENANT, tenancy.Tenant.ACTIVE)
        for slug in ("nowhere", "de\x00mo", "DEMO"):
            unknown = await refusal(directory.ResolveTenant(tenancy.ResolveTenantRequest(slug=slug)))
            assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_UNKNOWN")
        not_named = await refusal(
            directory.GetContact(tenancy.GetContactRequest(user_id=CUSTOMER), metadata=AS_SERVICE)
        )
        assert not_named.reason == "CALLER_NOT_ALLOWED"
        grant = tenancy.GrantVendorRequest(user_id=CUSTOMER, vendor_id="vnd_01kdwcj2m4e28bt3ghmcnm0aaa")
        for _ in range(2):
            await directory.GrantVendor(grant, metadata=AS_SERVICE)
        assert (await refusal(directory.GrantVendor(grant))).reason == "NOT_FOUND"
    person = await log_in(dial, "customer@demo.berth.example", "harbour-lights-42")
    assert list(person.user.roles) == ["customer", "vendor_owner"]
    async with dial("notification") as channel:
        contact = await DirectoryServiceStub(channel).GetContact(
            tenancy.GetContactRequest(user_id=CUSTOMER), metadata=AS_SERVICE
        )
        assert (contact.email, contact.tenant_display_name) == ("customer@demo.berth.example", "Berth demo marketplace")
    async with dial("gateway") as channel:
        inside = await refusal(
            DirectoryServiceStub(channel).GetContact(
                tenancy.GetContactRequest(user_id=CUSTOMER), metadata=person.metadata
            )
        )
        assert inside.reason == "CALLER_NOT_ALLOWED"


async def test_only_the_platform_opens_and_stops_tenants(running: Running, dial: Dial) -> None:
    admin = await log_in(dial, "admin@demo.berth.example", "harbour-keeper-42")
    platform = await log_in(dial, "platform@demo.berth.example", "harbour-pilot-42")
    request = tenancy.CreateTenantRequest(slug="harbour", display_name="Harbour")
    async with dial("gateway") as channel:
        tenants, stub = TenantServiceStub(channel), AuthServiceStub(channel)
        denied = await refusal(tenants.CreateTenant(request, metadata=admin.metadata))
        assert (denied.reason, dict(denied.infos[0].metadata)) == (
            "PERMISSION_DENIED",
            {"permission": "tenants.manage"},
        )
        keyed = (*platform.metadata, ("idempotency-key", "open-harbour"))
        created = await tenants.CreateTenant(request, metadata=keyed)
        assert await tenants.CreateTenant(request, metadata=keyed) == created
        exists = await refusal(tenants.CreateTenant(request, metadata=platform.metadata))
        assert (exists.code, exists.reason, dict(exists.infos[0].metadata)) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "TENANT_EXISTS",
            {"slug": "harbour"},
        )
        page = await tenants.ListTenants(tenancy.ListTenantsRequest(page_size=1), metadata=platform.metadata)
        rest = await tenants.ListTenants(
            tenancy.ListTenantsRequest(page_token=page.next_page_token), metadata=platform.metadata
        )
        assert [tenant.slug for tenant in (*page.tenants, *rest.tenants)] == ["demo", "harbour"]

        # The same address is somebody else there; a token of here is nothing there.
        there = (("berth-tenant", "harbour"),)
        await stub.Register(registration(admin.email), metadata=there)
        mixed = (("authorization", f"Bearer {admin.tokens.access_token}"), *there)
        elsewhere = await refusal(UserServiceStub(channel).GetMe(user_service_pb2.GetMeRequest(), metadata=mixed))
        assert elsewhere.code is grpc.StatusCode.NOT_FOUND

        suspend = tenancy.SuspendTenantRequest(tenant_id=created.tenant_id)
        assert (await tenants.SuspendTenant(suspend, metadata=platform.metadata)).status == tenancy.Tenant.SUSPENDED
        resume = tenancy.ResumeTenantRequest(tenant_id=created.tenant_id)
        assert (await tenants.ResumeTenant(resume, metadata=platform.metadata)).status == tenancy.Tenant.ACTIVE


async def test_nothing_personal_or_secret_in_log_or_events(running: Running, dial: Dial) -> None:
    person = await join(running, dial)
    async with dial("gateway") as channel:
        await refusal(
            AuthServiceStub(channel).Login(
                auth.LoginRequest(email=person.email, password="wrong-password-1"), metadata=DEMO
            )
        )
        await refusal(AuthServiceStub(channel).Register(registration("not an address"), metadata=DEMO))
    log = running.log.read_text()
    assert "AuthService/Login" in log, "the log was read"
    secrets = [
        person.email,
        "not an address",
        PASSWORD,
        "wrong-password-1",
        person.tokens.access_token.rpartition(".")[2],
        person.tokens.refresh_token,
    ]
    for secret in secrets:
        assert secret not in log
    with psycopg.connect(running.urls.auditor) as connection:
        (everything,) = connection.execute("SELECT string_agg(outbox::text, ' ') FROM outbox").fetchone() or ("",)
    for secret in (person.email, PASSWORD, "Cara"):
        assert secret.encode().hex() not in everything
