"""Refuses early what could only be served late: more calls than the process serves in time, or any while it stops."""

from __future__ import annotations

from typing import Any

from services.chassis.errors import Draining, Overloaded
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring


def bind(method: Method, wiring: Wiring) -> Middleware | None:
    """For all but the built-in methods: a busy process is still healthy."""
    if method.policy.built_in:
        return None
    state, most = wiring.state, wiring.max_concurrent_calls

    async def shed(call: Call, proceed: Proceed) -> Any:
        if state.draining:
            raise Draining
        if state.calls >= most:
            raise Overloaded
        state.calls += 1
        try:
            return await proceed(call)
        finally:
            state.calls -= 1

    return shed
