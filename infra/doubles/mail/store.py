"""Owns the caught messages: the newest few, in memory, in their raw form until somebody reads them."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import itertools
from collections import deque
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from functools import cached_property
from typing import Any

KEPT_MESSAGES = 5000


@dataclass(frozen=True, kw_only=True)
class Letter:
    """One message as it was handed over: envelope and raw form. Nobody reads most of what a load test sends."""

    id: int
    received_at: str
    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    def is_for(self, address: str) -> bool:
        """Whether the envelope names the address; case is not told apart, as in every real mailbox."""
        return address.casefold() in (recipient.casefold() for recipient in self.recipients)

    @cached_property
    def read(self) -> Caught:
        """The message with its headers and the two readable bodies."""
        message = email.message_from_bytes(self.raw, policy=email.policy.default)
        return Caught(
            id=self.id,
            received_at=self.received_at,
            sender=self.sender,
            recipients=self.recipients,
            subject=str(message.get("Subject", "")),
            text=_body(message, "plain"),
            html=_body(message, "html"),
            headers={name: str(value) for name, value in reversed(message.items())},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """One message as it is shown."""

    id: int
    received_at: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str
    headers: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The message under the names of the HTTP answers."""
        shown = asdict(self)
        shown["from"], shown["to"] = shown.pop("sender"), list(shown.pop("recipients"))
        return shown


class Mailbox:
    """Everything caught since the start or the last emptying, oldest first."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque(maxlen=KEPT_MESSAGES)
        self._numbers = itertools.count(1)

    def add(self, sender: str, recipients: list[str], raw: bytes, at: dt.datetime) -> Letter:
        """Keeps one message."""
        letter = Letter(
            id=next(self._numbers), received_at=at.isoformat(), sender=sender, recipients=tuple(recipients), raw=raw
        )
        self._letters.append(letter)
        return letter

    def newest(self, count: int, to: str | None) -> list[Caught]:
        """The last messages, or the last to one address, newest first."""
        letters = (letter for letter in reversed(self._letters) if to is None or letter.is_for(to))
        return [letter.read for letter in itertools.islice(letters, count)]

    def list(self, to: str | None = None) -> list[Caught]:
        """All messages, or those to one address."""
        return [letter.read for letter in self._letters if to is None or letter.is_for(to)]

    def clear(self) -> None:
        """Forgets every message; numbers go on."""
        self._letters.clear()


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, KeyError):  # an unknown charset or type: shown as it came
        return str(part.get_payload())
