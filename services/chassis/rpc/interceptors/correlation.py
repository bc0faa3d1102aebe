"""Gives the call its request id and trace, and makes it the current one: everything after may log and call out."""

from __future__ import annotations

from typing import Any

from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring
from services.chassis.telemetry.correlation import child_traceparent


def bind(method: Method, wiring: Wiring) -> Middleware:
    """For every method: with spans where traces are collected, else only the trace's context is passed on."""
    traces = wiring.traces

    async def correlate(call: Call, proceed: Proceed) -> Any:
        call.traceparent = child_traceparent(call.metadata.get("traceparent", ""))
        return await proceed(call)

    if traces is None or method.policy.built_in:
        return correlate

    async def trace(call: Call, proceed: Proceed) -> Any:
        span = traces.start(call.method, call.metadata.get("traceparent", ""))
        call.traceparent = span.traceparent
        try:
            return await proceed(call)
        finally:
            span.end(code=call.code, reason=call.reason, request_id=call.request_id)

    return trace
