"""Which tenant a call from outside belongs to: its host or header says so until a token does; the two must agree."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from services.chassis.errors import DependencyUnavailable, NotFound, TenantUnknown
from services.chassis.rpc.context import Call
from services.chassis.rpc.errors import RemoteError
from services.chassis.rpc.method import EDGE, Method, Middleware, Proceed, Wiring
from services.chassis.rpc.tenants import TenantDirectory

_SLUG = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]", re.ASCII)


def bind(method: Method, wiring: Wiring) -> Middleware | None:
    """For all but the built-in methods and those that lie outside tenants."""
    tenants = wiring.tenants
    if method.policy.built_in or method.policy.no_tenant:
        return None

    async def find_tenant(call: Call, proceed: Proceed) -> Any:
        if call.peer in EDGE:
            slug = call.metadata.get("berth-tenant", "")
            if call.principal.kind != "user":
                call.principal = replace(call.principal, tenant_id=await _find(tenants, slug))
            elif slug:
                await _compare(tenants, slug, call.principal.tenant_id)
        return await proceed(call)

    return find_tenant


async def _find(tenants: TenantDirectory, slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise TenantUnknown
    return await tenants.find(slug)


async def _compare(tenants: TenantDirectory, slug: str, tenant_id: str) -> None:
    try:
        named = await _find(tenants, slug)
    except (RemoteError, DependencyUnavailable):
        # The token alone is proof enough; the header only guards against a mix-up of hosts.
        return
    if named != tenant_id:
        raise NotFound(resource="tenant")
