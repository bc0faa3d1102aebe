"""The mail catcher over real sockets: what was sent is shown as sent, trusted nowhere, and the door shuts by order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import EmailMessage

import aiosmtplib
import httpx
import pytest
import pytest_asyncio

from infra.doubles.mail.server import serving
from infra.local import ports


@dataclass(frozen=True)
class Post:
    """A running catcher and a way to it."""

    smtp_port: int
    http: httpx.AsyncClient

    async def send(self, message: EmailMessage, recipients: list[str] | None = None) -> None:
        await aiosmtplib.send(
            message, recipients=recipients, hostname="127.0.0.1", port=self.smtp_port, start_tls=False
        )


@pytest_asyncio.fixture
async def post() -> AsyncIterator[Post]:
    chosen = ports.claim({"smtp": None, "http": None})
    async with (
        serving(chosen["smtp"], chosen["http"]),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{chosen['http']}") as http,
    ):
        yield Post(chosen["smtp"], http)


def _message(to: str = "cara@mail.example", subject: str = "Your code") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "bookings@berth.example", to, subject
    message["Message-ID"] = "<one@berth.example>"
    message.set_content("Code: 123456 für Zoë\n")
    message.add_alternative("<p>Code: <b>123456</b></p>\n", subtype="html")
    return message


@pytest.mark.asyncio
async def test_a_message_is_shown_as_it_was_sent(post: Post) -> None:
    await post.send(_message())
    (caught,) = (await post.http.get("/messages")).json()
    assert caught["from"] == "bookings@berth.example"
    assert caught["to"] == ["cara@mail.example"]
    assert caught["subject"] == "Your code"
    assert caught["text"] == "Code: 123456 für Zoë\n"
    assert caught["html"] == "<p>Code: <b>123456</b></p>\n"
    assert caught["headers"]["Message-ID"] == "<one@berth.example>"


@pytest.mark.asyncio
async def test_messages_are_told_apart_by_envelope_and_forgotten_on_demand(post: Post) -> None:
    await post.send(_message("a@mail.example"))
    await post.send(_message("b@mail.example"), recipients=["B@mail.example", "c@mail.example"])
    assert [m["id"] for m in (await post.http.get("/messages", params={"to": "b@MAIL.example"})).json()] == [2]
    assert [m["id"] for m in (await post.http.get("/messages", params={"to": "nobody@mail.example"})).json()] == []
    assert (await post.http.delete("/messages")).status_code == 204
    assert (await post.http.get("/messages")).json() == []


@pytest.mark.asyncio
async def test_the_page_trusts_nothing_of_a_message(post: Post) -> None:
    await post.send(_message(subject="<script>alert(1)</script>"))
    answer = await post.http.get("/")
    assert "<script>" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text
    assert "<b>123456</b>" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.asyncio
async def test_an_outage_refuses_every_message_until_it_ends(post: Post) -> None:
    assert (await post.http.post("/outage", json={"seconds": 60})).status_code == 200
    with pytest.raises((aiosmtplib.SMTPException, OSError)):
        await post.send(_message())
    await post.http.post("/outage", json={"seconds": 0})
    await post.send(_message())
    assert len((await post.http.get("/messages")).json()) == 1


@pytest.mark.asyncio
async def test_an_outage_also_cuts_a_session_that_was_open(post: Post) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=post.smtp_port, start_tls=False) as session:
        await post.http.post("/outage", json={"seconds": 60})
        with pytest.raises(aiosmtplib.SMTPException):
            await session.send_message(_message())
    assert (await post.http.get("/messages")).json() == []


@pytest.mark.asyncio
@pytest.mark.parametrize("body", ["", "[]", '{"seconds": "x"}', '{"seconds": -1}', '{"seconds": 1e9}', "{}"])
async def test_a_malformed_order_is_refused(post: Post, body: str) -> None:
    assert (await post.http.post("/outage", content=body)).status_code == 400
