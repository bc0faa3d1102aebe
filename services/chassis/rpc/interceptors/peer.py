"""Which program calls, by its certificate, and whether the contract lets it."""

from __future__ import annotations

from typing import Any

from services.chassis.errors import CallerNotAllowed
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import EDGE, Method, Middleware, Proceed, Wiring


def bind(method: Method, _wiring: Wiring) -> Middleware:
    """For every method. The list of who may call fails closed: a method that names nobody is nobody's."""
    policy = method.policy
    allowed = policy.callers if policy.access == "internal" else policy.callers | EDGE
    # Whoever balances load needs to know whether we serve, so health is for every peer with a certificate of ours.
    anybody = policy.built_in and policy.access == "public"

    async def identify(call: Call, proceed: Proceed) -> Any:
        identities = call.wire.peer_identities()
        if not identities:
            raise CallerNotAllowed
        call.peer = identities[0].decode()
        if call.peer not in allowed and not anybody:
            raise CallerNotAllowed
        return await proceed(call)

    return identify
