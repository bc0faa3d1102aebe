"""Owns refunds: full and partial, at once or settled later, and those that fail afterwards."""

from typing import Any

from infra.doubles.stripe import cards, charges
from infra.doubles.stripe.account import Account, Call, new_id
from infra.doubles.stripe.errors import ApiError, invalid, missing_param
from infra.doubles.stripe.paging import LIST_PARAMS, page
from infra.doubles.stripe.params import Params

_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


def create(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, ("charge", "payment_intent", "amount", "reason", "metadata"))
    charge = _charge(account, params)
    left = charges.refundable(charge)
    if not charge["captured"]:
        raise ApiError(
            400,
            "invalid_request_error",
            f"This PaymentIntent ({charge['payment_intent']}) does not have a successful charge to refund.",
            executed=True,
        )
    if left == 0:
        raise ApiError(
            400,
            "invalid_request_error",
            f"Charge {charge['id']} has already been refunded.",
            code="charge_already_refunded",
            executed=True,
        )
    amount = params.amount("amount") or left
    if amount > left:
        raise ApiError(
            400,
            "invalid_request_error",
            f"Refund amount ({_shown(amount, charge)}) is greater than unrefunded amount on charge "
            f"({_shown(left, charge)})",
            param="amount",
            executed=True,
        )
    manner = cards.of_shown(charge["payment_method_details"]["card"]).refund
    refund_id = new_id("re")
    moved = charges.balance_transaction(account, "refund", -amount, charge["currency"], refund_id)
    refund = {
        "id": refund_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": moved["id"],
        "charge": charge["id"],
        "created": account.now(),
        "currency": charge["currency"],
        "destination_details": {"card": {"type": "refund", "reference_status": "pending"}, "type": "card"},
        "metadata": params.metadata({}),
        "payment_intent": charge["payment_intent"],
        "reason": params.choice("reason", _REASONS),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "pending" if manner == "pending" else "succeeded",
        "transfer_reversal": None,
    }
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    account.store.put(charge)
    account.store.put(refund, parent=charge["payment_intent"])
    account.store.record("refund", amount, charge, time=account.now(), refund=refund["id"])
    account.emit("refund.created", refund, call)
    account.emit("charge.refunded", charge, call)
    if manner != "succeeded":
        account.store.enqueue(refund["id"], account.clock() + account.settle_seconds, "settle_refund")
        account.wake()
    return refund


def settle(account: Account, refund_id: str) -> dict[str, Any]:
    """What the bank says later: a pending refund succeeds, one on the failing card comes back."""
    refund = account.require("refund", refund_id, param="id", in_path=True)
    charge = account.require("charge", refund["charge"], param="charge")
    failing = cards.of_shown(charge["payment_method_details"]["card"]).refund == "failing"
    if failing and refund["status"] != "failed":
        refund |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        back = charges.balance_transaction(
            account, "refund_failure", refund["amount"], refund["currency"], refund["id"]
        )
        refund["failure_balance_transaction"] = back["id"]
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        account.store.put(charge)
        account.store.record("refund_failure", refund["amount"], charge, time=account.now(), refund=refund["id"])
    elif refund["status"] == "pending":
        refund["status"] = "succeeded"
    else:
        return refund
    account.store.put(refund)
    account.emit("refund.updated", refund, None)
    if failing:
        account.emit("refund.failed", refund, None)
    return refund


def retrieve(account: Account, call: Call, refund_id: str) -> dict[str, Any]:
    Params(call.values, ())
    return account.require("refund", refund_id, param="id", in_path=True)


def update(account: Account, call: Call, refund_id: str) -> dict[str, Any]:
    params = Params(call.values, ("metadata",))
    refund = account.require("refund", refund_id, param="id", in_path=True)
    refund["metadata"] = params.metadata(refund["metadata"])
    account.store.put(refund)
    account.emit("refund.updated", refund, call)
    return refund


def listed(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*LIST_PARAMS, "payment_intent", "charge"))
    intent = params.text("payment_intent")
    if charge := params.text("charge"):
        intent = account.require("charge", charge, param="charge")["payment_intent"]
    return page(account, "refund", params, "/v1/refunds", intent)


def _charge(account: Account, params: Params) -> dict[str, Any]:
    intent_id, charge_id = params.text("payment_intent"), params.text("charge")
    if charge_id is None:
        if intent_id is None:
            raise missing_param("payment_intent")
        intent = account.require("payment_intent", intent_id, param="payment_intent")
        charge_id = intent["latest_charge"]
        if charge_id is None:
            raise invalid(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.")
    return account.require("charge", charge_id, param="charge")


def _shown(amount: int, charge: dict[str, Any]) -> str:
    return f"{amount / 100:.2f} {charge['currency']}"
