"""Owns the catcher's two doors: SMTP, which can be shut for a while by order, and HTTP."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from infra.doubles.mail.page import SECURITY_HEADERS, page
from infra.doubles.mail.store import Mailbox

MESSAGE_BYTES = 10 * 1024 * 1024
OUTAGE_SECONDS = 3600.0
SHOWN_MESSAGES = 200  # on the page; the JSON has all of them


class Catcher:
    """The catcher's state: what it caught, and until when it plays dead."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self._loop = asyncio.get_running_loop()
        self._out_until = 0.0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Takes a message (aiosmtpd calls it by this name)."""
        if self.outage_left() > 0:
            return "421 Out of service by order"
        raw = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        caught = self.mailbox.add(envelope.mail_from or "", list(envelope.rcpt_tos), raw, dt.datetime.now(dt.UTC))
        return f"250 Caught as {caught.id}"

    def order_outage(self, seconds: float) -> None:
        """Shuts the SMTP door for so long; 0 opens it."""
        self._out_until = self._loop.time() + seconds

    def outage_left(self) -> float:
        """Seconds until the door opens again; 0 when it is open."""
        return max(0.0, self._out_until - self._loop.time())

    def protocol(self) -> asyncio.Protocol:
        """What answers a new SMTP connection."""
        if self.outage_left() > 0:
            return _Shut()
        return SMTP(self, data_size_limit=MESSAGE_BYTES, enable_SMTPUTF8=True, loop=self._loop)


class _Shut(asyncio.Protocol):
    """An outage: the connection is reset before a word is said."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()


@asynccontextmanager
async def serving(smtp_port: int, http_port: int) -> AsyncIterator[Catcher]:
    """A catcher on two loopback ports for the length of a block."""
    catcher = Catcher()
    smtp = await asyncio.get_running_loop().create_server(catcher.protocol, "127.0.0.1", smtp_port)
    runner = web.AppRunner(_application(catcher), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", http_port).start()
    try:
        yield catcher
    finally:
        smtp.close()
        await runner.cleanup()


def _application(catcher: Catcher) -> web.Application:
    async def show(request: web.Request) -> web.Response:
        text = page(catcher.mailbox.list(request.query.get("to"))[: -SHOWN_MESSAGES - 1 : -1])
        return web.Response(text=text, content_type="text/html", headers=SECURITY_HEADERS)

    async def messages(request: web.Request) -> web.Response:
        return web.json_response([message.as_json() for message in catcher.mailbox.list(request.query.get("to"))])

    async def clear(_: web.Request) -> web.Response:
        catcher.mailbox.clear()
        return web.Response(status=204)

    async def outage(request: web.Request) -> web.Response:
        try:
            seconds = float((await request.json())["seconds"])
        except (ValueError, KeyError, TypeError):
            seconds = -1.0
        if not 0 <= seconds <= OUTAGE_SECONDS:
            return web.json_response({"error": f"seconds: a number from 0 to {OUTAGE_SECONDS:g}"}, status=400)
        catcher.order_outage(seconds)
        return web.json_response({"seconds": catcher.outage_left()})

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"outage_seconds": catcher.outage_left()})

    application = web.Application()
    application.add_routes(
        [
            web.get("/", show),
            web.get("/messages", messages),
            web.delete("/messages", clear),
            web.post("/outage", outage),
            web.get("/health", health),
        ]
    )
    return application
