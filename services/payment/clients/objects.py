"""Reads Stripe's objects, as JSON, into what payment's domain knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from services.chassis.ids import is_id
from services.chassis.money import Money
from services.payment.domain.payments import ProviderIntent, ProviderRefund, RefundStatus, Status
from services.payment.ports import ProviderEvent

Object = Mapping[str, Any]

EXPANDED = ["latest_charge.balance_transaction"]  # what an intent is asked for with, so that its fee is seen

_STATUS = {
    "requires_payment_method": Status.REQUIRES_PAYMENT_METHOD,
    "requires_confirmation": Status.REQUIRES_PAYMENT_METHOD,
    "requires_action": Status.REQUIRES_ACTION,
    "requires_capture": Status.REQUIRES_CAPTURE,
    "processing": Status.PROCESSING,
    "succeeded": Status.SUCCEEDED,
    "canceled": Status.CANCELLED,
}
_REFUND_STATUS = {
    "succeeded": RefundStatus.SUCCEEDED,
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}


def read_intent(intent: Object) -> ProviderIntent:
    """A payment intent; the fee is known when its charge and balance transaction came expanded."""
    currency = intent["currency"].upper()
    charge = intent.get("latest_charge")
    charge_id, refunded, fee = charge or "", 0, None
    if isinstance(charge, dict):
        charge_id = charge["id"]
        if charge["captured"]:
            # What was authorised and not captured counts as refunded there, though it never moved.
            refunded = max(0, charge["amount_refunded"] - (charge["amount"] - charge["amount_captured"]))
        moved = charge.get("balance_transaction")
        if isinstance(moved, dict):
            fee = Money(moved["currency"].upper(), moved["fee"])
    error = intent.get("last_payment_error") or {}
    return ProviderIntent(
        intent_id=intent["id"],
        status=_STATUS[intent["status"]],
        captured=Money(currency, intent["amount_received"]),
        refunded=Money(currency, refunded),
        fee=fee,
        last_error=error.get("code") or error.get("type") or "",
        charge_id=charge_id,
        client_secret=intent.get("client_secret") or "",
    )


def read_refund(refund: Object) -> ProviderRefund:
    """A refund, and our id where we asked for it."""
    return ProviderRefund(
        provider_refund_id=refund["id"],
        status=_REFUND_STATUS.get(refund["status"], RefundStatus.PENDING),
        amount=Money(refund["currency"].upper(), refund["amount"]),
        refund_id=metadata(refund, "refund_id"),
    )


def read_event(event: Object) -> ProviderEvent:
    """An event: which object it is about, and whose that is."""
    item = event["data"]["object"]
    intent = item["id"] if item.get("object") == "payment_intent" else item.get("payment_intent")
    payment_id = metadata(item, "payment_id")
    return ProviderEvent(
        event_id=str(event["id"]),
        type=str(event["type"]),
        object_id=str(item.get("id", "")),
        intent_id=intent if isinstance(intent, str) else "",
        payment_id=payment_id if is_id("pay", payment_id) else "",
        create_time=datetime.fromtimestamp(event["created"], UTC),
    )


def metadata(item: Object, key: str) -> str:
    """One of the texts that we gave an object to carry."""
    value = (item.get("metadata") or {}).get(key, "")
    return value if isinstance(value, str) else ""
