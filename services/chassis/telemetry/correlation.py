"""The names under which one request is found again: its request id and its W3C trace context."""

from __future__ import annotations

import random
import re

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,64}", re.ASCII)
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)

_random = random.Random()  # noqa: S311 - names for logs, nothing is guarded by them


def new_request_id() -> str:
    """A name for a request that came without one."""
    return f"{_random.getrandbits(128):032x}"


def request_id(sent: str) -> str:
    """The caller's name for its request if it is one that logs can hold, else a new one."""
    return sent if _REQUEST_ID.fullmatch(sent) else new_request_id()


def new_traceparent() -> str:
    """The start of a trace, not sampled."""
    return f"00-{_random.getrandbits(128) or 1:032x}-{_random.getrandbits(64) or 1:016x}-00"


def child_traceparent(sent: str) -> str:
    """The caller's trace with a span of our own, or a new trace where the caller has none."""
    if not _TRACEPARENT.fullmatch(sent):
        return new_traceparent()
    return f"{sent[:36]}{_random.getrandbits(64) or 1:016x}{sent[52:]}"
