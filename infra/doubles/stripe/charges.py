"""Owns charges and balance transactions: what moves money, each movement recorded in the ledger."""

from typing import Any

from infra.doubles.stripe.account import Account, Call, new_id
from infra.doubles.stripe.cards import Decline

FEE_PERCENT_TENTHS = 29  # 2.9 % …
FEE_FIXED_MINOR = 30  # … and 30 minor units, as the provider's published card price


def _fee(amount: int) -> int:
    return (amount * FEE_PERCENT_TENTHS + 500) // 1000 + FEE_FIXED_MINOR


def create(
    account: Account,
    call: Call,
    intent: dict[str, Any],
    method: dict[str, Any],
    decline: Decline | None,
    *,
    capture: bool,
) -> dict[str, Any]:
    """One attempt on a card: authorised, authorised and captured at once, or declined."""
    charge = {
        "id": new_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "captured": False,
        "created": account.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "outcome": _outcome(decline),
        "paid": decline is None,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": {**method["card"], "amount_authorized": intent["amount"]}, "type": "card"},
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "status": "failed" if decline else "succeeded",
    }
    if decline:
        account.store.put(charge, parent=intent["id"])
        account.emit("charge.failed", charge, call)
        return charge
    account.store.record("charge", intent["amount"], charge, time=account.now())
    if capture:
        _capture(account, charge, intent["amount"])
    account.store.put(charge, parent=intent["id"])
    account.emit("charge.succeeded", charge, call)
    return charge


def capture(account: Account, call: Call, charge: dict[str, Any], amount: int) -> None:
    """Takes `amount` of what was authorised; the rest is released."""
    _capture(account, charge, amount)
    rest = charge["amount"] - amount
    if rest:
        charge["amount_refunded"] = rest
        account.store.record("release", rest, charge, time=account.now())
    account.store.put(charge)
    account.emit("charge.captured", charge, call)


def release(account: Account, call: Call, charge: dict[str, Any]) -> None:
    """Gives an authorisation back without capturing anything of it."""
    charge["amount_refunded"] = charge["amount"]
    charge["refunded"] = True
    account.store.put(charge)
    account.store.record("release", charge["amount"], charge, time=account.now())
    account.emit("charge.refunded", charge, call)


def _capture(account: Account, charge: dict[str, Any], amount: int) -> None:
    fee = _fee(amount)
    moved = balance_transaction(account, "charge", amount, charge["currency"], charge["id"], fee=fee)
    charge["balance_transaction"] = moved["id"]
    charge["amount_captured"] = amount
    charge["captured"] = True
    account.store.record("capture", amount, charge, time=account.now(), fee=fee)


def refundable(charge: dict[str, Any]) -> int:
    """What is captured and not yet on its way back."""
    released = charge["amount"] - charge["amount_captured"]
    left: int = charge["amount_captured"] - (charge["amount_refunded"] - released)
    return left


def balance_transaction(
    account: Account, kind: str, amount: int, currency: str, source: str, *, fee: int = 0
) -> dict[str, Any]:
    moved = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": account.now(),
        "created": account.now(),
        "currency": currency,
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": currency,
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        if fee
        else [],
        "net": amount - fee,
        "reporting_category": kind,
        "source": source,
        "status": "available",
        "type": kind,
    }
    account.store.put(moved, parent=source)
    return moved


def _outcome(decline: Decline | None) -> dict[str, Any]:
    return {
        "network_status": "declined_by_network" if decline else "approved_by_network",
        "reason": decline.decline_code if decline else None,
        "risk_level": "normal",
        "seller_message": "The bank did not return any further details with this decline."
        if decline
        else "Payment complete.",
        "type": "issuer_declined" if decline else "authorized",
    }
