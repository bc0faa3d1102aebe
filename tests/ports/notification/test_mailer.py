"""The way to mailboxes: one behaviour, in memory and by SMTP to the mail catcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from infra.doubles.mail.server import serving
from services.chassis.errors import DependencyUnavailable
from services.notification.clients.smtp import CONNECTIONS, SmtpMailer
from services.notification.domain import Mail, MailRefused
from services.notification.ports import Mailer
from tests.databases import free_port
from tests.ports.notification.fakes import AT, FakeMailer


@dataclass
class Post:
    """A mailer and what its server holds."""

    mailer: Mailer
    subjects: Callable[[], list[str]]
    go_out: Callable[[bool], None]


@asynccontextmanager
async def real() -> AsyncIterator[Post]:
    port = free_port()
    async with serving(port, free_port()) as catcher:
        mailer = SmtpMailer("127.0.0.1", port, "bookings@berth.example")
        yield Post(
            mailer,
            lambda: [caught.subject for caught in catcher.mailbox.list(None)],
            lambda out: catcher.order_outage(60 if out else 0),
        )
        await mailer.close()


@pytest.fixture(params=["fake", "real"])
async def post(request: pytest.FixtureRequest) -> AsyncIterator[Post]:
    if request.param == "fake":
        fake = FakeMailer()

        def go_out(out: bool) -> None:
            fake.out = out

        yield Post(fake, lambda: [mail.subject for mail in fake.sent], go_out)
        return
    async with real() as found:
        yield found


def mail(number: int, to: str = "ada@example.org") -> Mail:
    return Mail(f"<{number}@berth.example>", to, f"Mail {number} ä", "Words ä", "<p>Words ä</p>", "en", AT)


async def test_mails_arrive(post: Post) -> None:
    await asyncio.gather(*(post.mailer.send(mail(number)) for number in range(3 * CONNECTIONS)))
    assert sorted(post.subjects()) == sorted(mail(number).subject for number in range(3 * CONNECTIONS))


async def test_an_outage_is_an_unavailable_dependency_and_ends(post: Post) -> None:
    await post.mailer.send(mail(1))
    post.go_out(True)
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await post.mailer.send(mail(2))
    post.go_out(False)
    await post.mailer.send(mail(3))
    assert post.subjects() == [mail(1).subject, mail(3).subject]


async def test_an_address_that_is_none_is_refused_for_good(post: Post) -> None:
    for to in ("nobody", "ada@example.org\nBcc: eve@example.org"):
        with pytest.raises(MailRefused):
            await post.mailer.send(mail(1, to))
    assert post.subjects() == []


async def test_nobody_there_is_an_unavailable_dependency() -> None:
    with pytest.raises(DependencyUnavailable):
        await SmtpMailer("127.0.0.1", free_port(), "bookings@berth.example").send(mail(1))


@pytest.mark.parametrize(("reply", "raised"), [("550 No such user", MailRefused), ("451 Later", DependencyUnavailable)])
async def test_what_the_server_says_decides_whether_to_try_again(reply: str, raised: type[Exception]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            writer.write(f"{reply}\r\n".encode() if line.startswith(b"RCPT") else b"250 fine\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    mailer = SmtpMailer("127.0.0.1", server.sockets[0].getsockname()[1], "bookings@berth.example")
    with pytest.raises(raised) as error:
        await mailer.send(mail(1))
    assert "ada" not in str(error.value)
    server.close()
    await server.wait_closed()
