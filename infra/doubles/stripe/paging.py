"""Owns list answers and the expansion of ids into objects."""

from typing import Any

from infra.doubles.stripe.account import Account
from infra.doubles.stripe.errors import invalid
from infra.doubles.stripe.params import Params

LIST_PARAMS = ("limit", "starting_after", "ending_before", "created")
DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_EXPAND_DEPTH = 4

_EXPANDABLE = (
    "balance_transaction",
    "charge",
    "customer",
    "failure_balance_transaction",
    "latest_charge",
    "payment_intent",
    "payment_method",
)
_END_OF_TIME = 2**53


def page(account: Account, kind: str, params: Params, url: str, parent: str | None = None) -> dict[str, Any]:
    """One page of a list, newest first."""
    limit = params.integer("limit")
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise invalid("Invalid integer: limit must be between 1 and 100", param="limit")
    size = limit or DEFAULT_LIMIT
    starting_after, ending_before = params.text("starting_after"), params.text("ending_before")
    if starting_after and ending_before:
        raise invalid("You can only pass one of ending_before or starting_after.", param="ending_before")
    for name, cursor in (("starting_after", starting_after), ("ending_before", ending_before)):
        if cursor:
            account.require(kind, cursor, param=name)
    found = list(
        account.store.listed(
            kind,
            limit=size + 1,
            parent=parent,
            created=_created(params),
            starting_after=starting_after,
            ending_before=ending_before,
        )
    )
    # With `ending_before` the surplus one is the newest, for the list still runs newest first.
    data = (found[-size:] if ending_before else found[:size]) if len(found) > size else found
    return {"object": "list", "data": data, "has_more": len(found) > size, "url": url}


def _created(params: Params) -> tuple[int, int] | None:
    if "created" not in params:
        return None
    window = params.group("created", ("gt", "gte", "lt", "lte"))
    if window is None:
        return None
    gt, gte, lt, lte = (window.integer(name) for name in ("gt", "gte", "lt", "lte"))
    first = max(gte or 0, 0 if gt is None else gt + 1)
    last = min(_END_OF_TIME if lte is None else lte, _END_OF_TIME if lt is None else lt - 1)
    return first, last


def expand(account: Account, body: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """The answer with each named id replaced by its object, as `expand[]` asks."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > MAX_EXPAND_DEPTH:
            raise invalid("You can expand at most 4 levels of a property.", param="expand")
        _expand(account, body, steps, path)
    return body


def _expand(account: Account, node: dict[str, Any], steps: list[str], path: str) -> None:
    name, rest = steps[0], steps[1:]
    value = node.get(name)
    if isinstance(value, list):
        for item in value:
            if rest:
                _expand(account, item, rest, path)
        return
    if name not in _EXPANDABLE or name not in node:
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    if isinstance(value, str):
        node[name] = value = account.store.get(value)
    if isinstance(value, dict) and rest:
        _expand(account, value, rest, path)
