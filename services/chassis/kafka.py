"""What all our Kafka clients share: their settings, and CloudEvents in binary mode as headers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

CONTENT_TYPE = "application/protobuf"
SPEC_VERSION = "1.0"
RECONNECT_MAX_MILLISECONDS = 2_000  # so that a broker that comes back is found soon
REPEAT_SECONDS = 30.0  # before the same trouble is logged again
_SOURCE = "//berth.dev/"

_log = logging.getLogger(__name__)

Settings = dict[str, str | int | float | bool | object]
Headers = list[tuple[str, str | bytes | None]]


def client_settings(bootstrap: str, name: str) -> Settings:
    """What every client of ours says to librdkafka."""
    return {
        "bootstrap.servers": bootstrap,
        "client.id": name,
        "reconnect.backoff.max.ms": RECONNECT_MAX_MILLISECONDS,
        "topic.metadata.refresh.interval.ms": 10_000,
        "log.connection.close": False,
        "error_cb": _Reporter(),
        "log_level": 2,  # what error_cb reports need not be on stderr as well
    }


def event_headers(
    *, event_id: str, source: str, event_type: str, tenant_id: str, version: int, time: datetime, traceparent: str
) -> Headers:
    """A CloudEvent's attributes as Kafka headers."""
    headers: Headers = [
        ("ce_id", event_id),
        ("ce_source", _SOURCE + source),
        ("ce_type", event_type),
        ("ce_time", time.isoformat()),
        ("ce_specversion", SPEC_VERSION),
        ("content-type", CONTENT_TYPE),
        ("berthtenant", tenant_id),
        ("berthversion", str(version)),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent))
    return headers


def header_pairs(message: Message) -> Headers:
    """A message's headers in their order."""
    headers = message.headers() or []
    return list(headers.items()) if isinstance(headers, dict) else list(headers)


def read_headers(message: Message) -> Mapping[str, str]:
    """A message's headers as text; of one that was sent twice the last counts."""
    return {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
        for name, value in header_pairs(message)
    }


class _Reporter:
    """Says why nothing moves, without repeating itself; librdkafka goes on trying by itself."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._said.get(error.name(), -REPEAT_SECONDS) >= REPEAT_SECONDS:
            self._said[error.name()] = now
            _log.warning("Kafka: %s", error.str())
