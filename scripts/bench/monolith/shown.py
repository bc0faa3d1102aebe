"""Owns what the monolith answers: a booking, and a refusal, in the JSON of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.booking.domain import Booking, PricedItem
from services.chassis.errors import Refusal
from services.chassis.money import Money

_BAD_REQUEST = 400
_STATUS: Mapping[str, int] = {
    "TOKEN_MISSING": 401,
    "TOKEN_INVALID": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "SLOT_TAKEN": 409,
    "UNITS_TAKEN": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "DEPENDENCY_UNAVAILABLE": 503,
}


def booking(shown: Booking, client_secret: str) -> dict[str, Any]:
    """A booking as its own person sees it."""
    item = shown.items[0].item
    guest = shown.guest
    return {
        "bookingId": shown.booking_id,
        "status": shown.status,
        "userId": shown.user_id,
        "vendorId": shown.vendor_id,
        "resourceId": item.resource_id,
        "resourceName": shown.items[0].resource_name,
        "startDate": item.start_date,
        "endDate": item.end_date,
        "startTime": _instant(item.start_time),
        "endTime": _instant(item.end_time),
        "quantity": item.quantity,
        "items": [_item(priced) for priced in shown.items],
        "totalPrice": _money(shown.total),
        "confirmationCode": shown.confirmation_code,
        "userDetails": {
            "firstName": guest.first_name,
            "lastName": guest.last_name,
            "email": guest.email,
            "phone": guest.phone,
        },
        "payment": {
            "paymentId": shown.payment_id,
            "clientSecret": client_secret,
            "status": shown.payment_status or "PROCESSING",
            "lastError": shown.payment_error,
        },
        "paymentStatus": shown.payment_status or "PROCESSING",
        "createTime": _instant(shown.create_time),
        "updateTime": _instant(shown.update_time),
        "confirmTime": _instant(shown.confirm_time),
        "paymentDueTime": _instant(shown.payment_due_time),
        "etag": shown.etag,
    }


def refusal(refused: Refusal) -> tuple[int, dict[str, Any]]:
    """A refusal's HTTP status and body."""
    detail = {"reason": refused.reason, "domain": "berth.dev", "metadata": refused.metadata}
    return _STATUS.get(refused.reason, _BAD_REQUEST), {"message": refused.message, "details": [detail]}


def _item(priced: PricedItem) -> dict[str, Any]:
    return {
        "vendorId": priced.vendor_id,
        "resourceName": priced.resource_name,
        "timeZone": priced.time_zone,
        "beginTime": _instant(priced.begin_time),
        "finishTime": _instant(priced.finish_time),
        "lines": [
            {
                "kind": line.kind,
                "quantity": line.quantity,
                "unitPrice": _money(line.unit_price),
                "amount": _money(line.amount),
            }
            for line in priced.lines
        ],
        "total": _money(priced.total),
        "cancellationPolicy": priced.policy,
    }


def _money(amount: Money | None) -> dict[str, str] | None:
    return {"currencyCode": amount.currency, "amount": amount.amount} if amount is not None else None


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
