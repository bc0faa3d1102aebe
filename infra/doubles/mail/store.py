"""Owns the caught messages: the newest few, in memory, in their raw form until somebody reads them."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import itertools
from collections import deque
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cached_property
from typing import Any

KEPT_MESSAGES = 5000


@dataclass(frozen=True, kw_only=True)
class Caught:
    """One message as it was handed over; it is read when somebody looks, and most of a load test's are never."""

    id: int
    received_at: str
    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @cached_property
    def _message(self) -> EmailMessage:
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """Its subject."""
        return str(self._message.get("Subject", ""))

    @property
    def text(self) -> str:
        """The body to read."""
        return _body(self._message, "plain")

    @property
    def html(self) -> str:
        """The body to look at."""
        return _body(self._message, "html")

    @property
    def headers(self) -> dict[str, str]:
        """Its headers; of several with one name the first."""
        return {name: str(value) for name, value in reversed(self._message.items())}

    def as_json(self) -> dict[str, Any]:
        """The message under the names of the HTTP answers."""
        return {
            "id": self.id,
            "received_at": self.received_at,
            "from": self.sender,
            "to": list(self.recipients),
            "subject": self.subject,
            "text": self.text,
            "html": self.html,
            "headers": self.headers,
        }

    def is_for(self, address: str) -> bool:
        """Whether the envelope names the address; case is not told apart, as in every real mailbox."""
        return address.casefold() in (recipient.casefold() for recipient in self.recipients)


class Mailbox:
    """Everything caught since the start or the last emptying, oldest first."""

    def __init__(self) -> None:
        self._messages: deque[Caught] = deque(maxlen=KEPT_MESSAGES)
        self._numbers = itertools.count(1)

    def add(self, sender: str, recipients: list[str], raw: bytes, at: dt.datetime) -> Caught:
        """Keeps one message."""
        caught = Caught(
            id=next(self._numbers), received_at=at.isoformat(), sender=sender, recipients=tuple(recipients), raw=raw
        )
        self._messages.append(caught)
        return caught

    def list(self, to: str | None = None) -> list[Caught]:
        """All messages, or those to one address."""
        return [message for message in self._messages if to is None or message.is_for(to)]

    def clear(self) -> None:
        """Forgets every message; numbers go on."""
        self._messages.clear()


def _body(message: EmailMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, KeyError):  # an unknown charset or type: shown as it came
        return str(part.get_payload())
