"""Reads the request's bytes as its message: ours to do, because gRPC's own answer to a bad one says too much."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError

from services.chassis.errors import MalformedRequest
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring


def bind(method: Method, _wiring: Wiring) -> Middleware | None:
    """For methods of our contracts."""
    if method.request_type is None:
        return None
    read = method.request_type.FromString

    async def decode(call: Call, proceed: Proceed) -> Any:
        try:
            call.request = read(call.request)
        except (DecodeError, UnicodeDecodeError) as error:
            raise MalformedRequest from error
        return await proceed(call)

    return decode
