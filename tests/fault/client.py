"""Owns the people of the fault tests: they call by REST as anybody would, and know an answer from silence."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

SILENCE = 0
"""The status of a call that was never answered."""
CALL_SECONDS = 20.0  # beyond every deadline of the contract: whoever is cut off here was left hanging
RETRY_PAUSE_SECONDS = 0.1
MAX_RETRY_PAUSE_SECONDS = 0.5
_PASSING = frozenset({SILENCE, 429, 502, 503, 504})
GUEST = {"firstName": "Gwen", "lastName": "Guest", "email": "gwen@mail.example", "phone": "+442071838750"}
CARD = "pm_card_visa"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, and after how long."""

    status: int
    body: Mapping[str, Any]
    seconds: float
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether it did what was asked."""
        return 200 <= self.status < 300

    @property
    def reason(self) -> str:
        """The error's reason; empty for an answer or silence."""
        for detail in self.body.get("details", ()):
            if "reason" in detail:
                return str(detail["reason"])
        return ""

    @property
    def passing(self) -> bool:
        """Whether the same call, with the same key, may be made again."""
        return self.status in _PASSING or self.reason == "IDEMPOTENCY_IN_PROGRESS"

    def __str__(self) -> str:
        return f"{self.status} {self.reason or self.body.get('status', '')} after {self.seconds:.2f} s"


@dataclass(frozen=True)
class Person:
    """Somebody with a token, or nobody in particular without."""

    gateway: str
    http: aiohttp.ClientSession = field(repr=False)
    token: str = field(default="", repr=False)
    user_id: str = ""

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str = "",
        limit: float = CALL_SECONDS,
    ) -> Reply:
        """One call; a connection that breaks or stays silent is an answer with status 0."""
        headers = {"Berth-Tenant": "demo"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if key:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=limit)
        try:
            async with self.http.request(
                method, self.gateway + path, json=body, headers=headers, timeout=timeout
            ) as response:
                told = await response.json(content_type=None)
                return Reply(response.status, told, time.monotonic() - began)
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return Reply(SILENCE, {}, time.monotonic() - began)

    async def insist(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, key: str = "", limit: float = 60.0
    ) -> Reply:
        """The same call with the same key until it is answered for good, as clients are told to make it."""
        began = time.monotonic()
        pause, attempts = RETRY_PAUSE_SECONDS, 0
        while True:
            attempts += 1
            reply = await self.call(method, path, body, key=key)
            elapsed = time.monotonic() - began
            if not reply.passing or elapsed > limit:
                return Reply(reply.status, reply.body, elapsed, attempts)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_RETRY_PAUSE_SECONDS)

    async def book(self, body: Mapping[str, Any], key: str) -> Reply:
        """One try to book."""
        return await self.call("POST", "/api/v1/bookings", body, key=key)

    async def book_surely(self, body: Mapping[str, Any], key: str, limit: float = 60.0) -> Reply:
        """Books, again and again with the same key while the answer says that it passes."""
        return await self.insist("POST", "/api/v1/bookings", body, key=key, limit=limit)

    async def cancel(self, booking_id: str, key: str, limit: float = 60.0) -> Reply:
        """Cancels, likewise."""
        return await self.insist("POST", f"/api/v1/bookings/{booking_id}/cancel", {"reason": "x"}, key=key, limit=limit)

    async def booking(self, booking_id: str) -> Reply:
        """The booking as it stands."""
        return await self.call("GET", f"/api/v1/bookings/{booking_id}")


def new_key() -> str:
    """An idempotency key that nobody else has."""
    return uuid.uuid4().hex


def stay(resource_id: str, first: str, last: str, *, quantity: int = 1, token: str = CARD) -> dict[str, Any]:
    """The body of a booking of nights; without a token it waits for its payer."""
    body: dict[str, Any] = {
        "resourceId": resource_id,
        "startDate": first,
        "endDate": last,
        "quantity": quantity,
        "userDetails": GUEST,
        "paymentMethod": "credit_card",
    }
    return body | ({"paymentDetails": {"token": token}} if token else {})
