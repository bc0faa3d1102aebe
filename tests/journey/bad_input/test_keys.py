"""Idempotency keys: wrong ones, ones used before for something else, and ones of other people and tenants."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.contract import Method
from tests.journey.bad_input.good import Good
from tests.journey.bad_input.test_fields import EXTERNAL, by_path
from tests.journey.world.calls import Calls, Reply
from tests.journey.world.world import GUEST, World

KEYED = [method for method in EXTERNAL if method.policy.key_use != "KEY_USE_UNSPECIFIED"]
NO_KEYS = ["", " ", "a b", "x" * 256, "é", "\u202e", "a\tb"]
QUOTE = "inventory.v1.AvailabilityService/CreateQuote"
HOLD = "inventory.v1.HoldService/PlaceHold"
BOOK = "booking.v1.BookingService/CreateBooking"
VENDOR = "inventory.v1.VendorService/CreateVendor"
RACERS = 20


def with_raw_key(calls: Calls, method: Method, request: Good, key: str) -> Reply:
    """Calls by REST with a key's bytes as they are."""
    path = method.bindings[0].template
    fields = dict(request.fields)
    for known in method.descriptor.input_type.fields:
        if f"{{{known.name}}}" in path:
            path = path.replace(f"{{{known.name}}}", str(fields.pop(known.json_name)))
    headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    headers.append((b"idempotency-key", key.encode()))
    return calls.read(calls.http.request(method.bindings[0].verb, path, json=fields, headers=headers))


@pytest.mark.parametrize("method", KEYED, ids=by_path)
def test_keys_that_are_none(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    request = good[by_path(method)]
    for key in NO_KEYS:
        if key.strip() == key:  # HTTP itself takes the space away
            said = with_raw_key(calls, method, request, key)
            assert (said.http, said.reason) == (400, "IDEMPOTENCY_KEY_INVALID"), key
        if key.isascii() and key.isprintable():
            assert calls.by_grpc(method, request.fields, request.headers, key=key).reason == "IDEMPOTENCY_KEY_INVALID"


@pytest.mark.parametrize("method", [m for m in KEYED if m.policy.key_use == "REQUIRED"], ids=by_path)
def test_a_key_that_is_needed(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    request = good[by_path(method)]
    path = method.bindings[0].template
    fields = dict(request.fields)
    for known in method.descriptor.input_type.fields:
        if f"{{{known.name}}}" in path:
            path = path.replace(f"{{{known.name}}}", str(fields.pop(known.json_name)))
    said = calls.read(calls.http.post(path, json=fields, headers=request.headers))
    assert said.reason == "IDEMPOTENCY_KEY_INVALID"


@pytest.mark.parametrize("path", [QUOTE, HOLD, BOOK, VENDOR])
def test_a_key_used_before_for_something_else(path: str, world: World, calls: Calls) -> None:
    def fields() -> dict[str, object]:
        if path == VENDOR:
            return {"displayName": f"House {uuid.uuid4().hex}"}
        night = world.night()
        return {**night, "userDetails": GUEST} if path == BOOK else {"items": [night]}

    me, key = world["other"], "k" * 200 + uuid.uuid4().hex
    first, second = fields(), fields()
    answered = me.asks(path, first, key=key)
    assert answered.ok, answered
    assert identity(me.asks(path, first, key=key)) == identity(answered)
    reused = me.asks(path, second, key=key)
    assert (reused.http, reused.reason) == (400, "IDEMPOTENCY_KEY_REUSED")
    by_grpc = calls.by_grpc(calls.method(path), second, me.headers, key=key)
    assert by_grpc.reason == "IDEMPOTENCY_KEY_REUSED"
    # To everybody else it is a new key: nothing of the first answer shows.
    theirs = world["customer"].asks(path, second, key=key)
    assert theirs.ok
    assert identity(theirs) != identity(answered)
    elsewhere = dict(second)
    night = world.night(world["stranger"].tenant)
    if path == BOOK:
        elsewhere = {**night, "userDetails": GUEST}
    elif path != VENDOR:
        elsewhere = {"items": [night]}
    foreign = world["stranger"].asks(path, elsewhere, key=key)
    assert foreign.ok
    assert identity(foreign) not in {identity(theirs), identity(answered)}


def identity(reply: Reply) -> str:
    """What the answer created."""
    names = ("holdId", "bookingId", "quoteId", "vendorId")
    return next(str(reply.body[name]) for name in names if reply.body.get(name))


@pytest.mark.parametrize("path", [QUOTE, HOLD, BOOK])
def test_one_key_many_times_at_once(path: str, world: World, calls: Calls) -> None:
    night, key = world.night(), uuid.uuid4().hex
    fields = {**night, "userDetails": GUEST} if path == BOOK else {"items": [night]}
    headers = world["other"].headers
    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(lambda _: calls.by_grpc(calls.method(path), fields, headers, key=key), range(RACERS)))
    assert {reply.reason for reply in answers} <= {"OK", "IDEMPOTENCY_IN_PROGRESS"}
    assert len({identity(reply) for reply in answers if reply.ok}) == 1


def test_a_refused_request_leaves_its_key_free(world: World) -> None:
    key, me = uuid.uuid4().hex, world["other"]
    night = world.night()
    refused = me.asks(HOLD, {"items": [night | {"endDate": night["startDate"]}]}, key=key)
    assert refused.reason == "INVALID_FIELD"
    taken = me.asks(HOLD, {"items": [night | {"quantity": 1000}]}, key=key)
    assert taken.reason == "NOT_BOOKABLE"
    assert me.asks(HOLD, {"items": [night]}, key=key).ok
