"""Pages and masks: sizes, tokens that are broken, borrowed or forged, fields that cannot be changed, stale etags."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from tests.journey.bad_input.good import Good
from tests.journey.bad_input.test_values import UPDATE, both
from tests.journey.world.calls import Calls
from tests.journey.world.world import World

CURSORS: list[Any] = [
    {},
    [],
    {"after": None},
    {"after": "\x00"},
    {"after": 5, "before": 5},
    {"before": "\x00"},
    {"after": {"a": []}},
]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("auth.v1.TenantService/ListTenants", {}),
        ("inventory.v1.VendorService/ListVendors", {}),
        ("inventory.v1.ResourceService/ListResources", {}),
        ("booking.v1.BookingService/ListUserBookings", {"userId": "me"}),
        ("booking.v1.BookingService/ListVendorBookings", {"vendorId": "vnd_01kdwcj2m4e28bt3ghmcnm09d1"}),
        ("notification.v1.NotificationService/ListNotifications", {}),
        ("notification.v1.NotificationService/ListDeliveries", {}),
    ],
)
def test_pages(path: str, fields: dict[str, Any], world: World, calls: Calls) -> None:
    me = world["platform"].headers
    for reply in both(calls, path, fields | {"pageSize": -1}, me):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("pageSize",))
    for reply in both(calls, path, fields | {"pageSize": 1_000_000_000}, me):
        assert reply.ok
    for token in ("x", "!!!", "AAAA" * 20, "x" * 1024, *_forged()):
        for reply in both(calls, path, fields | {"pageToken": token}, me):
            assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"), (token, reply)
    for reply in both(calls, path, fields | {"pageToken": "x" * 1025}, me):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("pageToken",))


def _forged() -> list[str]:
    """Tokens of the right build for the wrong arguments, with cursors that nobody gave."""
    return [page_token(cursor, b"") for cursor in CURSORS]


def page_token(cursor: Any, arguments: bytes) -> str:
    """A token as the services make it. Its digest is no secret: whoever reads the source can do this."""
    payload = json.dumps(cursor, separators=(",", ":"), sort_keys=True).encode()
    inner = hashlib.sha256(arguments).digest()
    digest = hashlib.sha256(b"berth page token 1\0" + inner + payload).digest()[:12]
    return base64.urlsafe_b64encode(digest + payload).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("path", "fields", "arguments"),
    [
        ("booking.v1.BookingService/ListUserBookings", {"userId": "me"}, "{tenant} {user} me 0"),
        ("notification.v1.NotificationService/ListNotifications", {}, "notifications {tenant} {user} False"),
        ("inventory.v1.ResourceService/ListResources", {}, "resources "),
        ("inventory.v1.VendorService/ListVendors", {}, "vendors 0"),
    ],
)
def test_page_tokens_with_forged_cursors(
    path: str, fields: dict[str, Any], arguments: str, world: World, calls: Calls
) -> None:
    person = world["customer"]
    bound = arguments.format(tenant=person.claims["ten"], user=person.user_id).encode()
    for cursor in CURSORS:
        for reply in both(calls, path, fields | {"pageToken": page_token(cursor, bound)}, person.headers):
            assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"), (cursor, reply)


def test_a_page_token_of_somebody_else(world: World, calls: Calls) -> None:
    for _ in range(2):
        world.book(world["other"])
    path = "booking.v1.BookingService/ListUserBookings"
    first = world["other"].must(path, {"userId": "me", "pageSize": 1})
    token = first["pagination"]["nextPageToken"]
    assert token
    for name in ("customer", "rival"):
        for reply in both(calls, path, {"userId": "me", "pageSize": 1, "pageToken": token}, world[name].headers):
            assert reply.reason == "PAGE_TOKEN_INVALID"
    again = world["other"].asks(path, {"userId": "me", "pageSize": 1, "pageToken": token, "status": "CANCELLED"})
    assert again.reason == "PAGE_TOKEN_INVALID"
    both_ways = world["other"].asks(path, {"userId": "me", "page": 2, "pageToken": token})
    assert both_ways.reason == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("path", "mask"),
    [
        ("auth.v1.UserService/UpdateMe", mask)
        for mask in ("email", "userId", "roles", "status", "nope", "firstName.x", "etag", "*", "updateMask")
    ]
    + [
        (UPDATE, mask)
        for mask in ("resourceId", "vendorId", "kind", "timeZone", "status", "createTime", "nope", "price.nope", "etag")
    ]
    + [
        ("inventory.v1.VendorService/UpdateVendor", mask)
        for mask in ("vendorId", "status", "ownerUserId", "nope", "etag")
    ],
)
def test_masks(path: str, mask: str, world: World, calls: Calls, good: dict[str, Good]) -> None:
    request = good[path]
    for reply in both(calls, path, {**request.fields, "updateMask": mask}, request.headers):
        assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "UPDATE_MASK_INVALID"), reply
        assert reply.body["details"][0]["metadata"] == {"path": mask}


def test_stale_etags(world: World, calls: Calls, good: dict[str, Good]) -> None:
    for path in ("auth.v1.UserService/UpdateMe", UPDATE, "inventory.v1.VendorService/UpdateVendor"):
        for etag in ("stale", "0", "\x00", "🚢", "x" * 64):
            for reply in both(calls, path, {**good[path].fields, "etag": etag}, good[path].headers):
                assert (reply.code, reply.reason) == ("ABORTED", "ETAG_MISMATCH"), (path, reply)
