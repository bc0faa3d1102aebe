"""Reads the idempotency key and what it stands for; claiming it is the use case's, in its own transaction."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from services.chassis.errors import IdempotencyKeyInvalid
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring
from services.chassis.rpc.policy import KeyUse

_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def bind(method: Method, _wiring: Wiring) -> Middleware | None:
    """For methods that take a key."""
    policy = method.policy
    if policy.key_use is KeyUse.NONE:
        return None
    required, internal = policy.key_use is KeyUse.REQUIRED, policy.access == "internal"

    async def read_key(call: Call, proceed: Proceed) -> Any:
        sent = call.metadata.get("idempotency-key")
        if sent is not None:
            if not _KEY.fullmatch(sent):
                raise IdempotencyKeyInvalid
            # A service's call is the same one whether it carries the user's token or is made again by a worker.
            principal = call.peer if internal else call.principal.subject
            request_hash = hashlib.sha256(call.request.SerializeToString(deterministic=True)).digest()
            call.idempotency = IdempotencyKey(call.tenant_id, principal, method.name, sent, request_hash)
        elif required:
            raise IdempotencyKeyInvalid("The method needs an idempotency key.")
        return await proceed(call)

    return read_key
