"""Mails, by SMTP, over a few connections that are kept open."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE_FORMAT
from hashlib import sha256
from typing import Final

import aiosmtplib

from services.chassis.errors import DependencyUnavailable
from services.notification.domain import Mail, MailRefused

CONNECTIONS: Final = 4
TIMEOUT_SECONDS: Final = 10.0  # of one step of the conversation
IDLE_SECONDS: Final = 5.0  # a connection that rested longer is asked whether it still lives
RETRY_AFTER: Final = timedelta(seconds=5)
_PERMANENT: Final = 500


class SmtpMailer:
    """Hands mails to one SMTP server."""

    def __init__(self, host: str, port: int, sender: str, *, user: str = "", password: str = "") -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._user = user
        self._password = password
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[tuple[float, aiosmtplib.SMTP]] = []

    async def send(self, mail: Mail) -> None:
        """Return once the server has taken the mail."""
        content = compose(mail, self._sender)
        async with self._free:
            try:
                connection = await self._connected()
                try:
                    await connection.sendmail(self._sender, [mail.to], content)
                except BaseException:
                    connection.close()
                    raise
            except (aiosmtplib.SMTPException, OSError) as error:
                raise _translated(error) from error
            self._idle.append((time.monotonic(), connection))

    async def close(self) -> None:
        """Say good-bye on the connections at rest."""
        while self._idle:
            _, connection = self._idle.pop()
            connection.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        while self._idle:
            rested_since, connection = self._idle.pop()
            if connection.is_connected and await _lives(connection, rested_since):
                return connection
            connection.close()
        connection = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            timeout=TIMEOUT_SECONDS,
            start_tls=True if self._user else None,
            username=self._user or None,
            password=self._password or None,
        )
        await connection.connect()
        return connection


def compose(mail: Mail, sender: str) -> bytes:
    """The mail as it is sent. The library refuses line breaks in headers; an address that is none is refused here."""
    message = EmailMessage(policy=WIRE_FORMAT)
    try:
        message["To"] = Address(addr_spec=mail.to)
        message["From"] = Address(addr_spec=sender)
        message["Subject"] = mail.subject
        message["Date"] = mail.date
        message["Message-ID"] = mail.message_id
        message["Content-Language"] = mail.language
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(mail.text)
        message.add_alternative(mail.html, subtype="html")
        # Else drawn anew each time: a mail that is sent again should be the same to the byte.
        message.set_boundary(f"=_{sha256(mail.message_id.encode()).hexdigest()[:32]}")
        return message.as_bytes()
    except (ValueError, MessageError, IndexError) as error:
        raise MailRefused("the address or the subject cannot stand in a mail") from error


async def _lives(connection: aiosmtplib.SMTP, rested_since: float) -> bool:
    if time.monotonic() - rested_since < IDLE_SECONDS:
        return True
    try:
        await connection.noop()
    except (aiosmtplib.SMTPException, OSError):
        return False
    return True


def _translated(error: Exception) -> Exception:
    """What the server said, in codes: its words could quote the address."""
    codes: list[int] = []
    if isinstance(error, aiosmtplib.SMTPNotSupported):
        return MailRefused("the mail server takes no such address")
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        codes = [error.code]
    if codes and min(codes) >= _PERMANENT and not isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return MailRefused(f"the mail server answered {codes[0]}")
    return DependencyUnavailable("The mail server does not take mails.", retry_after=RETRY_AFTER)
