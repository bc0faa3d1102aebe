"""One method of a server and what its interceptors are made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from services.chassis.rpc.context import Call
from services.chassis.rpc.policy import Policy, ReasonPolicy

if TYPE_CHECKING:
    from services.chassis.rpc.tenants import TenantDirectory
    from services.chassis.telemetry.metrics import RpcMetrics
    from services.chassis.telemetry.traces import Traces
    from services.chassis.tokens.verify import TokenVerifier

Proceed = Callable[[Call], Awaitable[Any]]


class Middleware(Protocol):
    """One interceptor, made for one method: does its part, and proceeds with the rest of the way."""

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        """Take the call; await `proceed(call)` or raise."""
        ...


# Certificates through which people come. What they call is what the contract opens to the outside.
EDGE = frozenset({"gateway", "operator"})

MAX_CONCURRENT_CALLS = 512  # beyond this a 2-core machine only makes everybody wait longer


@dataclass(frozen=True, slots=True)
class Method:
    """A method as the server has it."""

    policy: Policy
    reasons: Mapping[str, ReasonPolicy]
    request_type: Any = None  # the message's class; None for streams of requests

    @property
    def name(self) -> str:
        """Its full name."""
        return self.policy.method


@dataclass(slots=True)
class ServerState:
    """What changes while a server runs."""

    calls: int = 0  # that are being served, built-in ones aside
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the interceptors of one server share."""

    verifier: TokenVerifier
    tenants: TenantDirectory
    metrics: RpcMetrics
    traces: Traces | None = None
    state: ServerState = field(default_factory=ServerState)
    max_concurrent_calls: int = MAX_CONCURRENT_CALLS
    strict: bool = False  # a developer's machine: what contradicts a contract is INTERNAL


Interceptor = Callable[[Method, Wiring], Middleware | None]  # None where the method does not need it
