"""Credentials misused: codes guessed and borrowed, tokens spent twice at once, passwords that everybody knows."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest

from tests.journey.world.calls import Calls, Reply
from tests.journey.world.people import Person, code_for, mails_to, newcomer, register, settle
from tests.journey.world.world import World

ANONYMOUS = {"Berth-Tenant": "demo"}
VERIFY = "auth.v1.AuthService/VerifyEmail"
LOGIN = "auth.v1.AuthService/Login"
REFRESH = "auth.v1.AuthService/Refresh"
RESEND = "auth.v1.AuthService/ResendOtp"
REGISTER = "auth.v1.AuthService/Register"
AT_ONCE = 8


def ask(calls: Calls, path: str, fields: dict[str, Any], tenant: str = "demo") -> Reply:
    """Calls without a token."""
    return calls.by_rest(calls.method(path), fields, {"Berth-Tenant": tenant})


def other_code(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 1_000_000:06}"


def at_once(calls: Calls, path: str, fields: dict[str, Any], headers: dict[str, str]) -> list[Reply]:
    """The same call several times at the same time."""
    barrier = Barrier(AT_ONCE)

    def one(_: int) -> Reply:
        barrier.wait()
        return calls.by_grpc(calls.method(path), fields, headers)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_a_code_opens_its_own_address_alone(calls: Calls, world: World) -> None:
    mine, theirs = newcomer(calls, "mine"), newcomer(calls, "theirs")
    for person in (mine, theirs):
        register(person)
    borrowed = code_for(theirs)
    assert borrowed != code_for(mine), "one in a million: run it again"
    said = ask(calls, VERIFY, {"email": mine.email, "otp": borrowed})
    assert (said.reason, said.fields) == ("OTP_INVALID", ("otp",))
    # Nor the same address in another tenant.
    elsewhere = ask(calls, VERIFY, {"email": mine.email, "otp": code_for(mine)}, world["stranger"].tenant)
    assert elsewhere.reason == "OTP_INVALID"
    assert ask(calls, LOGIN, {"email": mine.email, "password": mine.password}).reason == "EMAIL_NOT_VERIFIED"
    assert ask(calls, VERIFY, {"email": mine.email, "otp": code_for(mine)}).ok


def test_the_sixth_wrong_code_is_one_too_many(calls: Calls) -> None:
    person = newcomer(calls, "guesser")
    register(person)
    code = code_for(person)
    wrong = {"email": person.email, "otp": other_code(code)}
    assert [ask(calls, VERIFY, wrong).reason for _ in range(5)] == ["OTP_INVALID"] * 5
    sixth = ask(calls, VERIFY, wrong)
    assert (sixth.http, sixth.reason) == (429, "TOO_MANY_ATTEMPTS")
    assert int(sixth.headers["retry-after"]) > 1
    # Now the right one comes too late, on either wire.
    right = {"email": person.email, "otp": code}
    assert ask(calls, VERIFY, right).reason == "TOO_MANY_ATTEMPTS"
    assert calls.by_grpc(calls.method(VERIFY), right, ANONYMOUS).reason == "TOO_MANY_ATTEMPTS"


def test_guesses_at_the_same_time_are_counted_too(calls: Calls) -> None:
    person = newcomer(calls, "many guessers")
    register(person)
    wrong = {"email": person.email, "otp": other_code(code_for(person))}
    answers = [reply.reason for reply in at_once(calls, VERIFY, wrong, ANONYMOUS)]
    assert sorted(answers) == ["OTP_INVALID"] * 5 + ["TOO_MANY_ATTEMPTS"] * (AT_ONCE - 5)


@pytest.mark.parametrize("otp", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "123456\n", " 12345", "0x1234", "-12345"])
def test_codes_that_are_none(otp: str, calls: Calls) -> None:
    for reply in (
        ask(calls, VERIFY, {"email": "nobody@mail.example", "otp": otp}),
        calls.by_grpc(calls.method(VERIFY), {"email": "nobody@mail.example", "otp": otp}, ANONYMOUS),
    ):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("otp",))


def test_who_is_registered_is_not_told(calls: Calls, world: World) -> None:
    known, unknown = world["customer"].email, "certainly-nobody@mail.example"
    wrong = "a wrong but long password"
    for path, fields in ((LOGIN, {"password": wrong}), (VERIFY, {"otp": "000000"})):
        answers = [ask(calls, path, {"email": email, **fields}) for email in (known, unknown)]
        assert answers[0].body == answers[1].body
        assert answers[0].reason == answers[1].reason
    profile = {"password": "a calm and quiet quay", "firstName": "A", "lastName": "B"}
    registered = [ask(calls, REGISTER, {"email": email, **profile}) for email in (known, unknown)]
    assert [set(reply.body) for reply in registered] == [{"otpExpireTime"}] * 2
    # The known one is told so by mail, without a code.
    [told] = mails_to(calls, known, "account")[-1:]
    assert not re.search(r"\b\d{6}\b", told["text"])


@pytest.mark.parametrize("password", ["password1234", "1234567890", "short", "", "x" * 129])
def test_passwords_that_are_none(password: str, calls: Calls) -> None:
    fields = {"email": "weak@mail.example", "password": password, "firstName": "A", "lastName": "B"}
    reply = ask(calls, REGISTER, fields)
    assert (reply.code, reply.fields) == ("INVALID_ARGUMENT", ("password",))
    contains = fields | {"password": "weak@mail.example!"}
    assert ask(calls, REGISTER, contains).reason == "PASSWORD_TOO_WEAK"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
        "@mail.example",
        "a@b@c.example",
        "a b@mail.example",
        "a@mail.example\r\nBcc: all@mail.example",
        "a@mail.example,b@mail.example",
        "a@mail.example\x00",
        "<a@mail.example>",
        "a@" + "x" * 260 + ".example",
        '"a\r\n"@mail.example',
    ],
)
def test_addresses_that_are_none(email: str, calls: Calls) -> None:
    fields = {"password": "a calm and quiet quay", "firstName": "A", "lastName": "B"}
    for path, rest in ((REGISTER, fields), (RESEND, {}), (LOGIN, {"password": "a calm quay"})):
        for reply in (
            ask(calls, path, {"email": email, **rest}),
            calls.by_grpc(calls.method(path), {"email": email, **rest}, ANONYMOUS),
        ):
            assert (reply.reason, set(reply.fields)) == ("INVALID_FIELD", {"email"}), path


@pytest.fixture(scope="module")
def resident(calls: Calls) -> Person:
    """Somebody whose sessions may be ruined."""
    person = newcomer(calls, "resident")
    settle([person])
    return person


def test_a_refresh_token_spent_at_once_gives_one_successor(calls: Calls, resident: Person) -> None:
    first = resident.log_in()["tokens"]["refreshToken"]
    answers = at_once(calls, REFRESH, {"refreshToken": first}, ANONYMOUS)
    # Within the grace the lost answer is given again: the same pair to everybody, and no second chain.
    assert all(reply.ok for reply in answers), answers
    pairs = {(reply.body["tokens"]["accessToken"], reply.body["tokens"]["refreshToken"]) for reply in answers}
    assert len(pairs) == 1


def test_a_refresh_token_used_again_ends_the_session(calls: Calls, resident: Person) -> None:
    first = resident.log_in()["tokens"]["refreshToken"]
    second = ask(calls, REFRESH, {"refreshToken": first}).body["tokens"]["refreshToken"]
    third = ask(calls, REFRESH, {"refreshToken": second}).body["tokens"]["refreshToken"]
    # Its successor was used: whoever comes with the first one is not whom it was given to.
    assert ask(calls, REFRESH, {"refreshToken": first}).reason == "REFRESH_TOKEN_REUSED"
    assert ask(calls, REFRESH, {"refreshToken": third}).reason == "REFRESH_TOKEN_INVALID"


def test_a_refresh_token_of_an_ended_session(calls: Calls, resident: Person) -> None:
    token = resident.log_in()["tokens"]["refreshToken"]
    assert ask(calls, "auth.v1.AuthService/Logout", {"refreshToken": token}).ok
    for reply in at_once(calls, REFRESH, {"refreshToken": token}, ANONYMOUS):
        assert reply.reason == "REFRESH_TOKEN_INVALID"


def test_refresh_tokens_that_are_none(calls: Calls, resident: Person, world: World) -> None:
    genuine = resident.log_in()["tokens"]["refreshToken"]
    session, generation, proof = genuine.split(".")
    forged = [
        f"{session}.{int(generation) + 1}.{proof}",
        f"{session}.{generation}.{'A' * 43}",
        f"{session}.{generation}.{proof}x",
        f"{session}.0.{proof}",
        f"{session}.999999999.{proof}",
        f"ses_{'0' * 26}.{generation}.{proof}",
        resident.token[:512],
        "x" * 512,
    ]
    for token in forged:
        assert ask(calls, REFRESH, {"refreshToken": token}).reason == "REFRESH_TOKEN_INVALID", token
    # Nor does another tenant take it.
    elsewhere = ask(calls, REFRESH, {"refreshToken": genuine}, world["stranger"].tenant)
    assert elsewhere.reason == "REFRESH_TOKEN_INVALID"
    assert ask(calls, REFRESH, {"refreshToken": genuine}).ok


def test_the_eleventh_wrong_password_is_one_too_many(calls: Calls) -> None:
    person = newcomer(calls, "forgetful")
    settle([person])
    wrong = {"email": person.email.upper(), "password": "not the password"}
    assert [ask(calls, LOGIN, wrong).reason for _ in range(10)] == ["CREDENTIALS_INVALID"] * 10
    assert ask(calls, LOGIN, wrong).reason == "TOO_MANY_ATTEMPTS"
    right = {"email": person.email, "password": person.password}
    assert ask(calls, LOGIN, right).reason == "TOO_MANY_ATTEMPTS"


def test_nothing_readable_is_stored(calls: Calls, resident: Person) -> None:
    refresh_token = resident.log_in()["tokens"]["refreshToken"]
    with psycopg.connect(calls.mesh.superuser_url("auth")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        stored = "\n".join(
            str(row)
            for (table,) in tables
            for row in connection.execute(f'SELECT t::text FROM "{table}" t'.encode()).fetchall()
        )
    for secret in (resident.password, refresh_token, refresh_token.split(".")[2], resident.token):
        assert secret not in stored
