"""What holds beside the matrix: tenants apart, suspensions, one's own profile, headers that claim to be somebody."""

from __future__ import annotations

import time
import uuid

import pytest

from gateway.contract import Method
from tests.journey.authorization.ownership import row_of
from tests.journey.authorization.test_outside import EXTERNAL, by_path
from tests.journey.world.calls import Calls
from tests.journey.world.people import newcomer, settle
from tests.journey.world.things import missing
from tests.journey.world.world import World, suspend

LOGIN = "auth.v1.AuthService/Login"
REFRESH = "auth.v1.AuthService/Refresh"
GET_ME = "auth.v1.UserService/GetMe"


@pytest.mark.parametrize("method", [m for m in EXTERNAL if m.policy.access == "permission"], ids=by_path)
def test_a_token_opens_its_own_tenant_alone(method: Method, world: World, calls: Calls) -> None:
    row = row_of(method.path)
    fields = row.fields(missing(row.kind) if row.kind else None)
    for name, elsewhere in (("platform", world["stranger"].tenant), ("foreigner", "demo")):
        headers = world[name].headers | {"Berth-Tenant": elsewhere}
        answers = [calls.by_rest(method, fields, headers), calls.by_grpc(method, fields, headers)]
        assert [answer.body["details"][0].get("metadata") for answer in answers] == [{"resource": "tenant"}] * 2, name


def test_me_is_the_caller(world: World) -> None:
    for name in ("customer", "stranger", "support"):
        assert world[name].must(GET_ME, {})["userId"] == world[name].user_id


def test_lists_show_ones_own_and_ones_tenants_alone(world: World) -> None:
    for name, tenant in (("customer", "demo"), ("stranger", world["stranger"].tenant)):
        person = world[name]
        booked = person.must("booking.v1.BookingService/ListUserBookings", {"userId": "me"})["data"]
        assert booked
        assert {booking["userId"] for booking in booked} == {person.user_id}
        rooms = person.must("inventory.v1.ResourceService/ListResources", {"pageSize": 200})["resources"]
        assert world.rooms[tenant] in {room["resourceId"] for room in rooms}
        others = {room for slug, room in world.rooms.items() if slug != tenant}
        assert not others & {room["resourceId"] for room in rooms}
    seen = {
        name: {
            delivery["userId"]
            for delivery in world[name].must("notification.v1.NotificationService/ListDeliveries", {"pageSize": 200})[
                "deliveries"
            ]
        }
        for name in ("admin", "foreigner")
    }
    assert world["stranger"].user_id in seen["foreigner"]
    assert not seen["admin"] & seen["foreigner"]


def test_headers_from_outside_make_nobody_somebody(world: World, calls: Calls) -> None:
    claims = {
        "Berth-Tenant": "demo",
        "Berth-On-Behalf-Of": world["customer"].user_id,
        "Berth-Principal": world["customer"].user_id,
        "Berth-Peer": "booking",
        "Berth-Caller": "booking",
        "X-Forwarded-Client-Cert": "By=x;DNS=booking",
        "X-Envoy-Internal": "true",
        "X-Envoy-Original-Path": "/api/v1/users/me",
        "X-Forwarded-For": "127.0.0.1",
    }
    method = calls.method(GET_ME)
    assert calls.by_rest(method, {}, claims).reason == "TOKEN_MISSING"
    assert calls.by_grpc(method, {}, claims).reason == "TOKEN_MISSING"
    # With a token they change nothing about whose it is.
    mine = calls.by_rest(method, {}, claims | world["other"].headers)
    assert mine.body["userId"] == world["other"].user_id


def test_a_suspended_person_gets_no_more_tokens(world: World, calls: Calls) -> None:
    person = newcomer(calls, "suspended")
    settle([person])
    session = person.log_in()
    suspend(person)
    anonymous = {"Berth-Tenant": "demo"}
    again = {"email": person.email, "password": person.password}
    assert calls.by_rest(calls.method(LOGIN), again, anonymous).reason == "ACCOUNT_SUSPENDED"
    spent = {"refreshToken": session["tokens"]["refreshToken"]}
    assert calls.by_rest(calls.method(REFRESH), spent, anonymous).reason == "ACCOUNT_SUSPENDED"
    # What is out already ends by itself, within one token's life.
    assert person.claims["exp"] - time.time() <= 300


def test_a_suspended_tenant_is_closed(world: World, calls: Calls) -> None:
    slug = f"shut-{uuid.uuid4().hex[:10]}"
    made = world["platform"].must("auth.v1.TenantService/CreateTenant", {"slug": slug, "displayName": "Soon shut"})
    person = newcomer(calls, "locked out", slug)
    settle([person])
    refresh = {"refreshToken": person.log_in()["tokens"]["refreshToken"]}
    path = {"tenantId": made["tenantId"]}
    world["platform"].must("auth.v1.TenantService/SuspendTenant", path)
    there = {"Berth-Tenant": slug}
    again = {"email": person.email, "password": person.password}

    def closed() -> bool:
        return calls.by_rest(calls.method(LOGIN), again, there).reason == "TENANT_UNKNOWN"

    # Services remember a tenant for half a minute.
    calls.mesh.wait(closed, "the suspension to be felt", 40.0)
    assert calls.by_rest(calls.method(REFRESH), refresh, there).reason == "TENANT_UNKNOWN"
    for path_of in ("inventory.v1.ResourceService/ListResources", "inventory.v1.VendorService/ListVendors"):
        assert calls.by_rest(calls.method(path_of), {}, there).reason == "TENANT_UNKNOWN"
        assert calls.by_grpc(calls.method(path_of), {}, there).reason == "TENANT_UNKNOWN"
    world["platform"].must("auth.v1.TenantService/ResumeTenant", path)
