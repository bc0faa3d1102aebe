"""A log line is JSON, and holds no secret and nobody's address, whoever wrote them there."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from services.chassis.telemetry.logs import REDACTED, JsonFormatter, redact, set_up


def line(message: str = "something", *args: object, error: BaseException | None = None, **extra: Any) -> dict[str, Any]:
    exc_info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.getLogger("test").makeRecord(
        "test", logging.INFO, "file.py", 1, message, args, exc_info, extra=dict(extra)
    )
    parsed: dict[str, Any] = json.loads(JsonFormatter("auth").format(record))
    return parsed


def test_a_line_says_what_where_and_when() -> None:
    written = line("did %s", "it", count=3, nothing="")
    assert (written["message"], written["service"], written["level"], written["logger"]) == (
        "did it",
        "auth",
        "INFO",
        "test",
    )
    assert written["count"] == 3
    assert written["time"].endswith("+00:00")
    assert "nothing" not in written


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "access_token", "refresh_token", "token", "authorization", "email", "phone", "otp",
     "client_secret", "database_url", "api_key", "set_cookie", "Stripe_Signature"],
)  # fmt: skip
def test_a_name_that_says_secret_hides_its_value(name: str) -> None:
    assert line(**dict[str, Any]({name: "value"}))[name] == REDACTED


@pytest.mark.parametrize("name", ["method", "request_id", "tenant_id", "key", "code", "tokenless"])
def test_other_names_do_not(name: str) -> None:
    assert line(**dict[str, Any]({name: "value"}))[name] == "value"


SECRETS = [
    "ada.lovelace+x@mail.example.com",
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3IifQ.c2lnbmF0dXJl",
    "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
    "rk_live_4eC39HqLyjWDarjtT1zdp7dc",
    "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH",
    "pi_3MtwBwLkdIwHu7ix28a3tqPa_secret_YrKJUKribcBjcG8HVhfZluoGH",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_taken_out_wherever_it_is(secret: str) -> None:
    assert secret not in json.dumps(line(f"failed for {secret}!", where=[{"deep": secret}]))
    try:
        raise ValueError(secret)
    except ValueError as error:
        written = line(error=error)
    assert "ValueError" in written["exception"]
    assert secret not in json.dumps(written)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://auth_app:hunter2@127.0.0.1:7432/auth", "127.0.0.1:7432/auth"),
        ("redis://:hunter2@127.0.0.1:7379/0", "127.0.0.1:7379/0"),
        ("Authorization: Bearer abcdefgh.hunter2", "Authorization: Bearer "),
        ("authorization: basic aHVudGVyMg==hunter2", "authorization: basic "),
    ],
)
def test_credentials_in_texts(text: str, left: str) -> None:
    assert "hunter2" not in redact(text)
    assert left in redact(text)


def test_what_is_no_secret_stays() -> None:
    text = "call /berth.booking.v1.BookingService/CreateBooking of usr_01j9xyz took 5.2 ms at 12:00"
    assert redact(text) == text


def test_a_value_that_json_does_not_know_is_written_as_text() -> None:
    assert line(what=sys)["what"].startswith("<module")


def test_strangers_headers_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers, logging.getLogger().level
    try:
        set_up("auth", "INFO")
        logging.getLogger("grpc._cython.cygrpc").error("Invalid encoding on %s", b"\xff")
        logging.getLogger("grpc._cython.cygrpc").error("something else")
    finally:
        root.handlers = handlers
        root.setLevel(level)
    assert [json.loads(written)["message"] for written in capsys.readouterr().err.splitlines()] == ["something else"]
