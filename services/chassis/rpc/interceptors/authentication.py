"""Who calls: the person whose token it is, or the service itself where the contract is content with that."""

from __future__ import annotations

import re
from typing import Any

from services.chassis.errors import TokenInvalid, TokenMissing
from services.chassis.ids import is_id
from services.chassis.principal import Principal
from services.chassis.rpc.context import NOBODY, Call
from services.chassis.rpc.method import EDGE, Method, Middleware, Proceed, Wiring

_ACTOR = re.compile(r"[a-z]{3}_[0-9a-z]{26}", re.ASCII)


def bind(method: Method, wiring: Wiring) -> Middleware | None:
    """For all but the built-in methods."""
    policy, verifier = method.policy, wiring.verifier
    if policy.built_in:
        return None

    async def authenticate(call: Call, proceed: Proceed) -> Any:
        sent = call.metadata.get("authorization")
        if sent is not None:
            call.token = _bearer(sent)
            call.principal = await verifier.verify(call.token, handed_on=call.peer not in EDGE)
        elif call.peer in EDGE:
            # Identity headers from outside mean nothing: only services speak for others.
            if policy.access == "permission":
                raise TokenMissing
            call.principal = NOBODY
        elif policy.service_principal:
            call.principal = _service(call)
        elif policy.access == "permission":
            raise TokenMissing
        else:
            call.principal = Principal("anonymous", _tenant(call), "")
        return await proceed(call)

    return authenticate


def _bearer(sent: str) -> str:
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenInvalid
    return token


def _service(call: Call) -> Principal:
    actor = call.metadata.get("berth-on-behalf-of", "")
    if actor and not _ACTOR.fullmatch(actor):
        raise TokenInvalid("The actor that the service works for is not an id.")
    return Principal("service", _tenant(call), call.peer, on_behalf_of=actor)


def _tenant(call: Call) -> str:
    """Services know the tenant by its id."""
    sent = call.metadata.get("berth-tenant", "")
    if sent and not is_id("ten", sent):
        raise TokenInvalid("The tenant that the service works in is not an id.")
    return sent
