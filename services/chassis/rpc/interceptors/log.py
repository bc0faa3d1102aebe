"""One line for each call, with how it ended and nothing that was in it."""

from __future__ import annotations

import logging
import time
from typing import Any

from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring

logger = logging.getLogger("berth.calls")


def bind(method: Method, _wiring: Wiring) -> Middleware:
    """For every method; health checks are said only to those who debug."""
    level = logging.DEBUG if method.policy.built_in else logging.INFO

    async def log(call: Call, proceed: Proceed) -> Any:
        started = time.monotonic()
        try:
            return await proceed(call)
        finally:
            if logger.isEnabledFor(level):
                logger.log(
                    level,
                    "call",
                    extra={
                        "method": call.method,
                        "code": call.code,
                        "reason": call.reason,
                        "ms": round((time.monotonic() - started) * 1000, 2),
                        "request_id": call.request_id,
                        "trace_id": call.traceparent[3:35],
                        "peer": call.peer,
                        "tenant_id": call.principal.tenant_id,
                        "subject": call.principal.subject,
                    },
                )

    return log
