"""The error boundary: the only place where an exception becomes what a caller sees; what it does not know, it masks."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import grpc

from services.chassis.errors import Refusal
from services.chassis.rpc.context import Call
from services.chassis.rpc.errors import (
    DETAILS_KEY,
    RemoteError,
    WireError,
    internal_error,
    refusal_of,
    wire_error,
)
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring

logger = logging.getLogger(__name__)


def bind(method: Method, wiring: Wiring) -> Middleware:
    """For every method."""
    reasons, strict = method.reasons, wiring.strict

    async def bound(call: Call, proceed: Proceed) -> Any:
        try:
            return await proceed(call)
        except Refusal as refusal:
            error = wire_error(refusal, reasons, call.request_id, strict=strict)
        except RemoteError as remote:
            passed = refusal_of(remote)
            if passed is None:
                error = _mask(call, remote)
            else:
                logger.warning("dependency failed", extra={"request_id": call.request_id, "error": str(remote)})
                error = wire_error(passed, reasons, call.request_id, strict=strict)
        except grpc.aio.AbortError:  # a built-in servicer's own refusal, already sent
            call.code = call.wire.code().name
            raise
        except asyncio.CancelledError:  # the caller went away
            call.code = "CANCELLED"
            raise
        except Exception as fault:  # noqa: BLE001 - the boundary: no exception's text may reach a caller
            error = _mask(call, fault)
        return await _send(call, error)

    return bound


def _mask(call: Call, fault: Exception) -> WireError:
    logger.error("call failed", exc_info=fault, extra={"method": call.method, "request_id": call.request_id})
    return internal_error(call.request_id)


async def _send(call: Call, error: WireError) -> None:
    call.code, call.reason = error.code.name, error.reason
    trailers: list[tuple[str, str | bytes]] = [(DETAILS_KEY, error.status.SerializeToString())]
    if error.retry_after is not None:
        # For the gateway: before the first message trailers are HTTP headers.
        trailers.append(("retry-after", str(max(1, math.ceil(error.retry_after.total_seconds())))))
    await call.wire.abort(error.code, error.status.message, trailing_metadata=tuple(trailers))
