"""Counts and times each call by method and code."""

from __future__ import annotations

import time
from typing import Any

from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring


def bind(method: Method, wiring: Wiring) -> Middleware | None:
    """For all but the built-in methods, which would drown the others."""
    if method.policy.built_in:
        return None
    observe = wiring.metrics.served(method.name)

    async def measure(call: Call, proceed: Proceed) -> Any:
        started = time.monotonic()
        try:
            return await proceed(call)
        finally:
            observe(call.code, time.monotonic() - started)

    return measure
