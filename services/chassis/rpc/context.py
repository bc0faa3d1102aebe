"""The call that is being served, for whoever needs to know it: handlers, outgoing calls, the database's time limits."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal
from services.chassis.telemetry.correlation import new_request_id, new_traceparent

NOBODY = Principal("anonymous", "", "")


@dataclass(slots=True)
class Call:
    """One call: what is known of it grows on its way through the interceptors."""

    method: str
    request_id: str
    traceparent: str = ""
    peer: str = ""  # the name in the caller's certificate
    principal: Principal = NOBODY
    deadline: float = float("inf")  # on time.monotonic()'s scale
    idempotency: IdempotencyKey | None = None
    token: str = field(default="", repr=False)  # the user's, to be passed on
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    location: str = ""  # set by a handler that created something: the path it is found under
    request: Any = field(default=None, repr=False)  # the bytes as they came, then the message
    wire: Any = field(default=None, repr=False)  # gRPC's own context
    code: str = "OK"  # how it ended
    reason: str = ""  # why, where it was refused

    @property
    def tenant_id(self) -> str:
        """The tenant that the call belongs to."""
        return self.principal.tenant_id

    def remaining(self) -> float:
        """The seconds left."""
        return self.deadline - time.monotonic()


_CURRENT: ContextVar[Call | None] = ContextVar("berth_call", default=None)


def current() -> Call:
    """The call that is being served; raises LookupError outside of one."""
    call = _CURRENT.get()
    if call is None:
        raise LookupError("No call is being served here.")
    return call


def current_or_none() -> Call | None:
    """The call that is being served, if one is."""
    return _CURRENT.get()


def remaining() -> float | None:
    """The seconds that the current call has left; None where nothing limits the work."""
    call = _CURRENT.get()
    if call is None or call.deadline == float("inf"):
        return None
    return call.remaining()


def enter(call: Call) -> None:
    """Make `call` the current one of this task; tasks end with their calls, so nothing has to leave it again."""
    _CURRENT.set(call)


@contextmanager
def background(
    work: str, *, tenant_id: str, on_behalf_of: str = "", seconds: float = 30.0, traceparent: str = ""
) -> Iterator[Call]:
    """Work that no caller waits for: outgoing calls inside act as this service, for the stored actor of a tenant."""
    call = Call(
        method=work,
        request_id=new_request_id(),
        traceparent=traceparent or new_traceparent(),
        principal=Principal("service", tenant_id, "", on_behalf_of=on_behalf_of),
        deadline=time.monotonic() + seconds,
    )
    token = _CURRENT.set(call)
    try:
        yield call
    finally:
        _CURRENT.reset(token)
