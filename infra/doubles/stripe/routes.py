"""Owns the table of operations: method and path to name and function."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from infra.doubles.stripe import customers, intents, readings, refunds

Operation = Callable[..., dict[str, Any]]


class Route(NamedTuple):
    """One operation; `publishable` ones are open to a browser with the publishable key."""

    name: str
    operation: Operation
    publishable: bool = False


_TABLE: dict[tuple[str, str], Route] = {
    ("POST", "/v1/payment_intents"): Route("payment_intents.create", intents.create),
    ("GET", "/v1/payment_intents"): Route("payment_intents.list", intents.listed),
    ("GET", "/v1/payment_intents/{}"): Route("payment_intents.retrieve", intents.retrieve, publishable=True),
    ("POST", "/v1/payment_intents/{}"): Route("payment_intents.update", intents.update),
    ("POST", "/v1/payment_intents/{}/confirm"): Route("payment_intents.confirm", intents.confirm, publishable=True),
    ("POST", "/v1/payment_intents/{}/capture"): Route("payment_intents.capture", intents.capture),
    ("POST", "/v1/payment_intents/{}/cancel"): Route("payment_intents.cancel", intents.cancel),
    ("POST", "/v1/refunds"): Route("refunds.create", refunds.create),
    ("GET", "/v1/refunds"): Route("refunds.list", refunds.listed),
    ("GET", "/v1/refunds/{}"): Route("refunds.retrieve", refunds.retrieve),
    ("POST", "/v1/refunds/{}"): Route("refunds.update", refunds.update),
    ("POST", "/v1/customers"): Route("customers.create", customers.create_customer),
    ("GET", "/v1/customers"): Route("customers.list", customers.list_customers),
    ("GET", "/v1/customers/{}"): Route("customers.retrieve", customers.retrieve_customer),
    ("POST", "/v1/customers/{}"): Route("customers.update", customers.update_customer),
    ("DELETE", "/v1/customers/{}"): Route("customers.delete", customers.delete_customer),
    ("POST", "/v1/payment_methods"): Route("payment_methods.create", customers.create_payment_method, publishable=True),
    ("GET", "/v1/payment_methods"): Route("payment_methods.list", customers.list_payment_methods),
    ("GET", "/v1/payment_methods/{}"): Route("payment_methods.retrieve", customers.retrieve_payment_method),
    ("POST", "/v1/payment_methods/{}/attach"): Route("payment_methods.attach", customers.attach_payment_method),
    ("POST", "/v1/payment_methods/{}/detach"): Route("payment_methods.detach", customers.detach_payment_method),
    ("GET", "/v1/events"): Route("events.list", readings.list_events),
    ("GET", "/v1/events/{}"): Route("events.retrieve", readings.retrieve_event),
    ("GET", "/v1/charges"): Route("charges.list", readings.list_charges),
    ("GET", "/v1/charges/{}"): Route("charges.retrieve", readings.retrieve_charge),
    ("GET", "/v1/balance_transactions"): Route("balance_transactions.list", readings.list_balance_transactions),
    ("GET", "/v1/balance_transactions/{}"): Route(
        "balance_transactions.retrieve", readings.retrieve_balance_transaction
    ),
}

_ID_STEP = re.compile(r"(/v1/[a-z_]+)/([^/]+)(/[a-z_]+)?")


def find(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """The operation behind a request, with the id from its path."""
    if route := _TABLE.get((method, path)):
        return route, ()
    matched = _ID_STEP.fullmatch(path)
    if matched is None:
        return None
    template = f"{matched[1]}/{{}}{matched[3] or ''}"
    route = _TABLE.get((method, template))
    return (route, (matched[2],)) if route else None
