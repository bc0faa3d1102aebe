"""Owns customers and payment methods: created, attached, read, listed."""

from typing import Any

from infra.doubles.stripe import cards
from infra.doubles.stripe.account import Account, Call, new_id
from infra.doubles.stripe.errors import invalid, missing_param
from infra.doubles.stripe.paging import LIST_PARAMS, page
from infra.doubles.stripe.params import Params

_CUSTOMER_TEXTS = ("name", "email", "phone", "description")
_CARD = ("token", "number", "exp_month", "exp_year", "cvc")
_BILLING = ("name", "email", "phone", "address")
METHOD_DATA = ("type", "card", "billing_details", "metadata", "allow_redisplay")


def create_customer(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*_CUSTOMER_TEXTS, "metadata"))
    customer = {
        "id": new_id("cus"),
        "object": "customer",
        "balance": 0,
        "created": account.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "livemode": False,
        "metadata": params.metadata({}),
        **{name: params.text(name) for name in _CUSTOMER_TEXTS},
    }
    account.store.put(customer)
    account.emit("customer.created", customer, call)
    return customer


def retrieve_customer(account: Account, call: Call, customer_id: str) -> dict[str, Any]:
    Params(call.values, ())
    return account.require("customer", customer_id, param="id", in_path=True)


def update_customer(account: Account, call: Call, customer_id: str) -> dict[str, Any]:
    params = Params(call.values, (*_CUSTOMER_TEXTS, "metadata"))
    customer = account.require("customer", customer_id, param="id", in_path=True)
    for name in _CUSTOMER_TEXTS:
        if name in params:
            customer[name] = params.text(name)
    customer["metadata"] = params.metadata(customer["metadata"])
    account.store.put(customer)
    account.emit("customer.updated", customer, call)
    return customer


def delete_customer(account: Account, call: Call, customer_id: str) -> dict[str, Any]:
    Params(call.values, ())
    customer = account.require("customer", customer_id, param="id", in_path=True)
    account.store.remove(customer_id)
    account.emit("customer.deleted", customer, call)
    return {"id": customer_id, "object": "customer", "deleted": True}


def list_customers(account: Account, call: Call) -> dict[str, Any]:
    return page(account, "customer", Params(call.values, LIST_PARAMS), "/v1/customers")


def create_payment_method(account: Account, call: Call) -> dict[str, Any]:
    return new_payment_method(account, Params(call.values, METHOD_DATA))


def new_payment_method(account: Account, params: Params) -> dict[str, Any]:
    """A payment method from `type=card` with a token or, as a browser sends it, a number."""
    if params.required_text("type") != "card":
        raise invalid("This account only takes the payment method type: card.", param="type")
    given = params.group("card", _CARD)
    if given is None:
        raise missing_param("card")
    token = given.text("token")
    card = cards.by_token(token) if token else cards.by_number(given.required_text("number"))
    billing = params.group("billing_details", _BILLING)
    method = _method(account, card, billing)
    method["metadata"] = params.metadata({})
    account.store.put(method)
    return method


def payment_method_for(account: Account, name: str, *, param: str) -> dict[str, Any]:
    """The method that an id names; a test shortcut such as pm_card_visa makes a new one, as the provider's does."""
    card = cards.by_payment_method(name)
    if card is None:
        return account.require("payment_method", name, param=param)
    method = _method(account, card, None)
    account.store.put(method)
    return method


def _method(account: Account, card: cards.TestCard, billing: Params | None) -> dict[str, Any]:
    return {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": None,
            **{name: billing.text(name) if billing else None for name in ("name", "email", "phone")},
        },
        "card": cards.shown(card),
        "created": account.now(),
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }


def retrieve_payment_method(account: Account, call: Call, method_id: str) -> dict[str, Any]:
    Params(call.values, ())
    if cards.by_payment_method(method_id):
        return payment_method_for(account, method_id, param="payment_method")
    return account.require("payment_method", method_id, param="payment_method", in_path=True)


def attach_payment_method(account: Account, call: Call, method_id: str) -> dict[str, Any]:
    params = Params(call.values, ("customer",))
    customer = account.require("customer", params.required_text("customer"), param="customer")
    method = payment_method_for(account, method_id, param="payment_method")
    if method["customer"] not in (None, customer["id"]):
        raise invalid("The payment method you provided has already been attached to a customer.")
    method["customer"] = customer["id"]
    account.store.put(method, parent=customer["id"])
    account.emit("payment_method.attached", method, call)
    return method


def detach_payment_method(account: Account, call: Call, method_id: str) -> dict[str, Any]:
    Params(call.values, ())
    method = account.require("payment_method", method_id, param="payment_method", in_path=True)
    method["customer"] = None
    account.store.put(method, parent="")  # detached: listed under no customer
    account.emit("payment_method.detached", method, call)
    return method


def list_payment_methods(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, (*LIST_PARAMS, "customer", "type"))
    parent = params.required_text("customer")
    return page(account, "payment_method", params, "/v1/payment_methods", parent)
