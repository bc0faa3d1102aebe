"""An idempotency key as use cases see it: whose it is, for which method, and what was asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A key, unique for tenant, principal and method."""

    tenant_id: str
    principal: str  # who may see the first call's answer; empty for anonymous callers
    method: str  # full gRPC name, e.g. `/berth.booking.v1.BookingService/CreateBooking`
    key: str
    request_hash: bytes  # SHA-256 of the deterministically encoded request
