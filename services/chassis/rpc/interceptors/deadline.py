"""Every call ends in time: the caller's deadline or the policy's, whichever is sooner; too little of it is refused."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from services.chassis.errors import DeadlineExceeded, DeadlineTooShort
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring

LEAST_SECONDS = 0.100  # with less than this nothing is begun
ANSWER_SECONDS = 0.010  # kept back so that the caller hears why before it stops listening


def bind(method: Method, _wiring: Wiring) -> Middleware | None:
    """For every method with a deadline, which are all but the built-in streams."""
    limit = method.policy.deadline
    if limit is None:
        return None

    async def limited(call: Call, proceed: Proceed) -> Any:
        seconds = limit
        left = call.wire.time_remaining()
        if left is not None:
            if left < LEAST_SECONDS:
                raise DeadlineTooShort
            seconds = min(limit, left - ANSWER_SECONDS)
        call.deadline = time.monotonic() + seconds
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                return await proceed(call)
        except TimeoutError as error:
            if timer.expired():
                raise DeadlineExceeded from error
            raise

    return limited
