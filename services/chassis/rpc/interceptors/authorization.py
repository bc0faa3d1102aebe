"""Whether the caller has the permission that the contract asks for."""

from __future__ import annotations

from typing import Any

from services.chassis.errors import PermissionDenied, TokenMissing
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring


def bind(method: Method, _wiring: Wiring) -> Middleware | None:
    """For methods that need a permission; the others are guarded by their caller lists alone."""
    policy = method.policy
    if policy.access != "permission":
        return None
    permission, service_suffices = policy.permission, policy.service_principal

    async def authorize(call: Call, proceed: Proceed) -> Any:
        principal = call.principal
        if principal.kind == "user":
            if permission not in principal.permissions:
                raise PermissionDenied(permission=permission)
        elif not (principal.kind == "service" and service_suffices):
            raise TokenMissing
        return await proceed(call)

    return authorize
