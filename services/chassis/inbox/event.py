"""An event as handlers receive it, and how a Kafka message becomes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from services.chassis.kafka import CONTENT_TYPE

_NEEDED = ("ce_id", "ce_type", "ce_time", "berthtenant", "berthversion")


class EventMalformedError(Exception):
    """The message is not one of our events."""


@dataclass(frozen=True, slots=True)
class Received:
    """One event: what happened, to what, and in which version of its key's state."""

    event_id: str
    type: str  # the message's full proto name
    tenant_id: str
    topic: str
    key: str
    version: int
    time: datetime
    message: Message = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


# It claims the event's inbox row in its own transaction; raising makes it run again, and in the end dead-letters.
Handler = Callable[[Received], Awaitable[None]]


def message_class(full_name: str) -> type[Message]:
    """The generated class of a message whose module has been imported; raises KeyError otherwise."""
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))


def received(
    topic: str, key: bytes | str | None, value: bytes | str | None, headers: Mapping[str, str], kind: type[Message]
) -> Received:
    """Read an event; raises EventMalformedError with what is wrong."""
    missing = [name for name in _NEEDED if not headers.get(name)]
    if missing:
        raise EventMalformedError(f"The headers {', '.join(missing)} are missing.")
    if headers.get("content-type", CONTENT_TYPE) != CONTENT_TYPE:
        raise EventMalformedError("The content type is not protobuf's.")
    try:
        message = kind.FromString(value if isinstance(value, bytes) else b"")
        version, time = int(headers["berthversion"]), datetime.fromisoformat(headers["ce_time"])
    except (DecodeError, ValueError) as error:
        raise EventMalformedError("The value, version or time cannot be read.") from error
    return Received(
        event_id=headers["ce_id"],
        type=headers["ce_type"],
        tenant_id=headers["berthtenant"],
        topic=topic,
        key=key.decode("utf-8", "replace") if isinstance(key, bytes) else key or "",
        version=version,
        time=time,
        message=message,
        headers=headers,
    )
