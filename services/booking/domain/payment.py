"""A booking's payment as payment tells of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.chassis.money import Money


class PaymentStatus(StrEnum):
    """Where a payment stands, in payment's words."""

    PROCESSING = "PROCESSING"
    REQUIRES_PAYMENT_METHOD = "REQUIRES_PAYMENT_METHOD"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    REQUIRES_CAPTURE = "REQUIRES_CAPTURE"
    SUCCEEDED = "SUCCEEDED"
    CANCELLED = "CANCELLED"


class RefundStatus(StrEnum):
    """Where a refund stands, in payment's words."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    amount: Money
    status: RefundStatus
    reason: str


@dataclass(frozen=True, slots=True)
class Charge:
    """What a booking's payment has come to; each carries the whole state, and the larger version is the newer."""

    payment_id: str
    status: PaymentStatus
    version: int
    last_error: str = ""
    refunds: tuple[Refund, ...] = ()
    client_secret: str = ""
    paid: Money | None = None  # once it succeeded
