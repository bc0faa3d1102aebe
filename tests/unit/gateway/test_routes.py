"""Routes follow the contract: literal paths first, wrong verbs after right ones, and nothing internal."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.contract import Contract, ContractError
from gateway.limits import RATES
from gateway.refusals import FAULT, METHOD_UNKNOWN, REFUSALS
from gateway.render import _has_keys, render
from gateway.routes import route_configuration
from infra.local.topology import read

ENDPOINTS = {name: [f"127.0.0.1:{service.port}"] for name, service in read().services.items()}
Routes = list[dict[str, Any]]


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The contract."""
    return Contract.read()


@pytest.fixture(scope="module")
def routes(contract: Contract) -> Routes:
    """The routes as Envoy reads them."""
    configuration = route_configuration(contract, default_tenant="demo").to_dict()
    found: Routes = configuration["virtualHosts"][0]["routes"]
    return found


def first(routes: Routes, verb: str, path: str, content_type: str = "") -> str:
    """The name of the first route that takes a request."""
    headers = {":method": verb, "content-type": content_type, ":path": path}
    path = path.partition("?")[0]
    for route in routes:
        match = route["match"]
        if "path" in match:
            taken = match["path"] == path
        elif "safeRegex" in match:
            taken = re.fullmatch(match["safeRegex"]["regex"], path) is not None
        else:
            taken = path.startswith(match["prefix"])
        if taken and all(_holds(matcher, headers) for matcher in match.get("headers", [])):
            return str(route["name"])
    raise LookupError(path)


def _holds(matcher: dict[str, Any], headers: dict[str, str]) -> bool:
    value, wanted = headers.get(matcher["name"], ""), matcher["stringMatch"]
    if "exact" in wanted:
        holds = value == wanted["exact"]
    elif "prefix" in wanted:
        holds = value.startswith(wanted["prefix"])
    else:
        holds = re.fullmatch(wanted["safeRegex"]["regex"], value) is not None
    return bool(holds != matcher.get("invertMatch", False))


@pytest.mark.parametrize(
    ("verb", "path", "content_type", "route"),
    [
        ("POST", "/api/v1/bookings", "application/json", "berth.booking.v1.BookingService.CreateBooking"),
        (
            "POST",
            "/api/v1/bookings",
            "APPLICATION/JSON; charset=utf-8",
            "berth.booking.v1.BookingService.CreateBooking",
        ),
        ("POST", "/api/v1/bookings", "text/plain", "POST /api/v1/bookings other content"),
        ("PUT", "/api/v1/bookings", "application/json", "/api/v1/bookings other verb"),
        ("GET", "/api/v1/users/me", "", "berth.auth.v1.UserService.GetMe"),
        ("GET", "/api/v1/bookings/bkg_1", "", "berth.booking.v1.BookingService.GetBooking"),
        ("GET", "/api/v1/bookings/bkg_1?x=%20&y", "", "berth.booking.v1.BookingService.GetBooking"),
        ("GET", "/api/v1/bookings/bkg_1?bookingId=bkg_2", "", "/api/v1/bookings/{booking_id} named twice"),
        ("GET", "/api/v1/bookings/bkg_1?x=1&booking_id", "", "/api/v1/bookings/{booking_id} named twice"),
        ("GET", "/api/v1/bookings/bkg_1?x=1&booking%49d=bkg_2", "", "escaped name"),
        ("GET", "/api/v1/resources?vendorId=vnd_1", "", "berth.inventory.v1.ResourceService.ListResources"),
        ("GET", "/api/v1/bookings/bkg_1/nothing", "", "unknown"),
        ("GET", "/api/v1/bookings/%2e", "", "unknown"),
        ("POST", "/api/v1/bookings", "application/grpc", "unknown"),
    ],
)
def test_the_first_route_that_takes_a_request(
    routes: Routes, verb: str, path: str, content_type: str, route: str
) -> None:
    assert first(routes, verb, path, content_type) == route


def test_grpc_paths_are_for_grpc(routes: Routes, contract: Contract) -> None:
    for method in contract.methods:
        name = first(routes, "POST", method.path, "application/grpc+proto")
        assert name == (f"{method.path} grpc" if method.external else "unknown")
        assert first(routes, "POST", method.path, "application/json") == "unknown"


def test_every_rate_class_has_a_rate(contract: Contract) -> None:
    assert {method.policy.rate_class for method in contract.external_methods} <= RATES.keys()


def test_every_refusal_is_a_reason_of_the_contract(contract: Contract) -> None:
    known = set(contract.pool.FindEnumTypeByName("berth.type.v1.ErrorReason").values_by_name)
    assert {refusal.reason for refusal in (*REFUSALS, METHOD_UNKNOWN, FAULT)} <= known


def test_rendering_is_reproducible() -> None:
    once, again = (render(read(), ENDPOINTS, tls_dir=Path("tls"), port=1, admin_port=2) for _ in range(2))
    assert once == again
    assert json.loads(once)["admin"]["address"]["socketAddress"]["address"] == "127.0.0.1"


def test_a_service_without_an_endpoint_is_refused() -> None:
    with pytest.raises(ContractError, match="booking has public methods, but no endpoint"):
        render(read(), {**ENDPOINTS, "booking": []}, tls_dir=Path("tls"), port=1, admin_port=2)


def test_kept_keys_that_are_broken_do_not_stop_the_gateway() -> None:
    assert [_has_keys(broken) for broken in ("", "{", "[]", "{}", '{"keys": []}')] == [False] * 5
    assert _has_keys('{"keys": [{"kty": "OKP"}]}')
