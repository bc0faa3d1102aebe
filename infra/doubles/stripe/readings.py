"""Owns what is only read: events, charges and balance transactions."""

from typing import Any

from infra.doubles.stripe.account import Account, Call
from infra.doubles.stripe.paging import LIST_PARAMS, page
from infra.doubles.stripe.params import Params


def retrieve_event(account: Account, call: Call, event_id: str) -> dict[str, Any]:
    Params(call.values, ())
    return with_pending(account, account.require("event", event_id, param="id", in_path=True))


def with_pending(account: Account, event: dict[str, Any]) -> dict[str, Any]:
    """The event with the number of its webhooks that are still to be accepted."""
    return event | {"pending_webhooks": account.store.pending_deliveries(event["id"])}


def list_events(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*LIST_PARAMS, "type", "types"))
    wanted = {*params.texts("types"), *filter(None, [params.text("type")])}
    if not wanted:
        return page(account, "event", params, "/v1/events")
    kept: list[dict[str, Any]] = []
    # Types are rare filters over few events here: pages are read until one is full.
    values = {name: value for name, value in call.values.items() if name not in ("type", "types")}
    limit = params.integer("limit") or 10
    while True:
        found = page(account, "event", Params({**values, "limit": "100"}, LIST_PARAMS), "/v1/events")
        kept += [event for event in found["data"] if event["type"] in wanted]
        if len(kept) > limit or not found["has_more"]:
            return {**found, "data": kept[:limit], "has_more": len(kept) > limit or found["has_more"]}
        values["starting_after"] = found["data"][-1]["id"]


def retrieve_charge(account: Account, call: Call, charge_id: str) -> dict[str, Any]:
    Params(call.values, ())
    return account.require("charge", charge_id, param="id", in_path=True)


def list_charges(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*LIST_PARAMS, "payment_intent"))
    return page(account, "charge", params, "/v1/charges", params.text("payment_intent"))


def retrieve_balance_transaction(account: Account, call: Call, moved: str) -> dict[str, Any]:
    Params(call.values, ())
    return account.require("balance_transaction", moved, param="id", in_path=True)


def list_balance_transactions(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*LIST_PARAMS, "source"))
    return page(account, "balance_transaction", params, "/v1/balance_transactions", params.text("source"))
