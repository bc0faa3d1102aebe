"""The one ordered list of interceptors that every call of every server passes through."""

from __future__ import annotations

from functools import partial

from services.chassis.rpc.interceptors import (
    authentication,
    authorization,
    boundary,
    correlation,
    deadline,
    decode,
    idempotency,
    log,
    metrics,
    peer,
    shed,
    tenant,
    validation,
)
from services.chassis.rpc.method import Interceptor, Method, Proceed, Wiring

# Outermost first. The order is a promise of its own, and tested:
CHAIN: tuple[tuple[str, Interceptor], ...] = (
    # Whatever happens later is logged and answered under the request's id.
    ("correlation", correlation.bind),
    # Outside of the boundary, so that both tell what the caller got, refusals included.
    ("log", log.bind),
    ("metrics", metrics.bind),
    # Everything inside may raise: from here on out there are only answers that the contract knows.
    ("boundary", boundary.bind),
    # Before any work: all that follows, waiting for keys and tenants included, counts against the time.
    ("deadline", deadline.bind),
    # Before anything that costs: the more calls come, the cheaper must be a refusal.
    ("shed", shed.bind),
    # The certificate was already paid for by the connection, so the caller list is the cheapest check of who it is.
    ("peer", peer.bind),
    # Needs the peer, because only a service may speak for others.
    ("authentication", authentication.bind),
    # Needs the person, whose token outranks the header.
    ("tenant", tenant.bind),
    # Needs the person; nothing of the request was looked at so far, so strangers learn nothing about its fields.
    ("authorization", authorization.bind),
    # Bytes are read only for callers that may ask.
    ("decode", decode.bind),
    ("validation", validation.bind),
    # Last: a key stands for a request that is valid, and for whom it was made.
    ("idempotency", idempotency.bind),
)


def compose(method: Method, wiring: Wiring, handler: Proceed) -> Proceed:
    """The whole way of one method's calls, put together once; interceptors that it does not need are left out."""
    way = handler
    for _name, bind in reversed(CHAIN):
        middleware = bind(method, wiring)
        if middleware is not None:
            way = partial(middleware, proceed=way)
    return way
