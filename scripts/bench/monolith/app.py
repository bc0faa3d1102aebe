"""Owns the monolith's HTTP side: tokens, keys, JSON, refusals."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse

from scripts.bench.monolith import shown
from scripts.bench.monolith.asked import CreateBooking
from scripts.bench.monolith.flow import Monolith
from scripts.bench.monolith.store import open_engine
from services.chassis.clock import SystemClock
from services.chassis.errors import DependencyUnavailable, PermissionDenied, Refusal, TokenMissing
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.principal import Principal
from services.chassis.tokens.keys import KeySet
from services.chassis.tokens.verify import TokenVerifier
from services.payment.clients.stripe import StripeProvider

PERMISSION = "bookings.create"
METHOD = "POST /api/v1/bookings"
BEARER = "Bearer "
KEYS_SECONDS = 5.0


class PublishedKeys:
    """The keys that auth publishes over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def fetch(self) -> Sequence[Mapping[str, str]]:
        """Every key that a valid token may name."""
        async with httpx.AsyncClient(timeout=KEYS_SECONDS) as client:
            try:
                response = (await client.get(self._url)).raise_for_status()
            except httpx.HTTPError as error:
                raise DependencyUnavailable("Auth does not publish its keys.") from error
        keys: Sequence[Mapping[str, str]] = response.json()["keys"]
        return keys


def create_app() -> FastAPI:
    """The application, configured by the environment."""
    clock = SystemClock()
    engine = open_engine(os.environ["BENCH_DATABASE_URL"])
    provider = StripeProvider(os.environ["BERTH_STRIPE_API_KEY"], os.environ["BERTH_STRIPE_API_BASE"], (), clock)
    keys = KeySet(PublishedKeys(os.environ["BENCH_JWKS_URL"]))
    verifier, monolith = TokenVerifier(keys, clock), Monolith(engine, provider, clock)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await keys.refresh()
        gc.collect()
        gc.freeze()
        yield
        await provider.close()
        await engine.dispose()

    app = FastAPI(lifespan=life)

    @app.exception_handler(Refusal)
    async def refuse(_request: Request, refused: Refusal) -> JSONResponse:
        status, body = shown.refusal(refused)
        return JSONResponse(body, status)

    @app.post("/api/v1/bookings")
    async def book(
        asked: CreateBooking,
        request: Request,
        authorization: str = Header(""),
        idempotency_key: str = Header("", max_length=255, pattern=r"^[\x21-\x7e]*$"),
    ) -> JSONResponse:
        caller = await _caller(verifier, authorization)
        key = None
        if idempotency_key:
            request_hash = hashlib.sha256(await request.body()).digest()
            key = IdempotencyKey(caller.tenant_id, caller.subject, METHOD, idempotency_key, request_hash)
        booked = await monolith.book(caller, asked, key)
        location = f"/api/v1/bookings/{booked.booking.booking_id}"
        return JSONResponse(shown.booking(booked.booking, booked.client_secret), 201, {"Location": location})

    return app


async def _caller(verifier: TokenVerifier, authorization: str) -> Principal:
    if not authorization.startswith(BEARER):
        raise TokenMissing
    caller = await verifier.verify(authorization.removeprefix(BEARER))
    if PERMISSION not in caller.permissions:
        raise PermissionDenied(permission=PERMISSION)
    return caller
