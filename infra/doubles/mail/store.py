"""Owns the caught messages: the newest few, in memory, read from their raw form once."""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import itertools
from collections import deque
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Any

KEPT_MESSAGES = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """One message as it was handed over: envelope, headers and the two readable bodies."""

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

    def is_for(self, address: str) -> bool:
        """Whether the envelope names the address; case is not told apart, as in every real mailbox."""
        return address.casefold() in (recipient.casefold() for recipient in self.recipients)


class Mailbox:
    """Everything caught since the start or the last emptying, oldest first."""

    def __init__(self) -> None:
        self._messages: deque[Caught] = deque(maxlen=KEPT_MESSAGES)
        self._numbers = itertools.count(1)

    def add(self, sender: str, recipients: list[str], raw: bytes, at: dt.datetime) -> Caught:
        """Reads and keeps one message."""
        message = email.message_from_bytes(raw, policy=email.policy.default)
        caught = Caught(
            id=next(self._numbers),
            received_at=at.isoformat(),
            sender=sender,
            recipients=tuple(recipients),
            subject=str(message.get("Subject", "")),
            text=_body(message, "plain"),
            html=_body(message, "html"),
            headers={name: str(value) for name, value in reversed(message.items())},
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
