"""HTTP that is wrong as HTTP: paths, verbs, queries, content types, bodies and headers, on every method."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import httpx
import pytest

from gateway.contract import Contract, Method
from tests.journey.bad_input.good import Good
from tests.journey.bad_input.test_fields import EXTERNAL, by_path
from tests.journey.world.calls import Calls, Reply, error_reply
from tests.journey.world.world import World

WITH_BODY = [method for method in EXTERNAL if method.bindings[0].has_body and not method.takes_bytes]
REST = [method for method in EXTERNAL if not method.takes_bytes]
DEEP = 20_000
# Envoy reads more than JSON allows; what it takes must still be a clear yes or no.
LENIENT = (
    b'{"etag": "stale",}',
    b"{etag: 'stale'}",
    b'{"etag": "stale", "etag": "twice"}',
    b'{"etag": "st\x00ale"}',
    b'{"nope": "a\x00b\nc"}',
)
BROKEN = {
    "nothing but a brace": b"{",
    "two values": b"{} {}",
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"text"',
    "nothing but space": b" \n\t",
    "not JSON": b"email=a@b.example&password=x",
    "bad UTF-8": b'{"reason": "\xff\xfe"}',
    "overlong UTF-8": b'{"reason": "\xc0\x80"}',
    "half a pair": b'{"reason": "\\ud800"}',
    "a byte order mark": b"\xef\xbb\xbf{",
    "deep lists": b'{"items": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and open": b"[" * DEEP,
    "an endless number": b'{"quantity": ' + b"9" * 50_000 + b"}",
}


def send(calls: Calls, method: Method, request: Good, *, verb: str = "", **how: Any) -> Reply:
    """Sends something to the method's path."""
    path = method.bindings[0].template
    for known in method.descriptor.input_type.fields:
        path = path.replace(f"{{{known.name}}}", str(request.fields.get(known.json_name, "")))
    headers = request.headers | how.pop("headers", {})
    return calls.read(calls.http.request(verb or method.bindings[0].verb, path, headers=headers, **how))


@pytest.mark.parametrize("method", WITH_BODY, ids=by_path)
def test_broken_bodies(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    for name, body in BROKEN.items():
        reply = send(calls, method, good[by_path(method)], content=body, headers={"content-type": "application/json"})
        assert reply.http == 400, (name, reply)
        assert reply.reason in {"MALFORMED_REQUEST", "INVALID_FIELD"}, (name, reply)
    for body in LENIENT:
        request = good[by_path(method)]
        assert send(calls, method, request, content=body, headers={"content-type": "application/json"}).http < 500


@pytest.mark.parametrize("method", WITH_BODY, ids=by_path)
def test_bodies_that_are_too_large_or_something_else(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    request = good[by_path(method)]
    huge = json.dumps({"reason": "x" * 3_000_000}).encode()
    said = send(calls, method, request, content=huge, headers={"content-type": "application/json"})
    assert (said.http, said.reason) == (413, "PAYLOAD_TOO_LARGE")
    for other in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        said = send(calls, method, request, content=b"{}", headers={"content-type": other})
        assert (said.http, said.reason) == (415, "MALFORMED_REQUEST"), other
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    said = send(calls, method, request, content=gzip.compress(b"{}"), headers=packed)
    assert (said.http, said.reason) == (400, "MALFORMED_REQUEST")


@pytest.mark.parametrize("method", REST, ids=by_path)
def test_unknown_queries_and_verbs(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    request = good[by_path(method)]
    said = send(calls, method, request, params={"nope": "1"}, content=b"{}" if method in WITH_BODY else None)
    assert (said.http, said.reason) == (400, "MALFORMED_REQUEST")
    for verb in ("PUT", "DELETE", "TRACE", "OPTIONS"):
        said = send(calls, method, request, verb=verb)
        assert (said.http, said.reason) == (405, "METHOD_NOT_ALLOWED"), verb
        assert method.bindings[0].verb in said.headers.get("allow", method.bindings[0].verb)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v2/bookings",
        "/api/v1/bookings/",
        "/api/v1/bookings/x/y/z",
        "/api/v1/Bookings",
        "/api/v1/bookings;jsessionid=1",
        "/API/V1/BOOKINGS",
        "/api/v1/bookings.json",
        "/berth.booking.v1.BookingService/GetBooking",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/metrics",
        "/config_dump",
        "/.env",
    ],
)
def test_unknown_paths(path: str, calls: Calls, world: World) -> None:
    for verb in ("GET", "POST"):
        said = calls.read(calls.http.request(verb, path, headers=world["customer"].headers))
        assert (said.http, said.reason) == (404, "ROUTE_NOT_FOUND"), verb


@pytest.mark.parametrize("escaped", ["%2e%2e%2f", "%2F", "%00", "%ff", "%c0%af", "%25", "%0d%0aX-Y:%201", "..%5c"])
def test_escapes_in_paths(escaped: str, calls: Calls, world: World) -> None:
    for path in (f"/api/v1/bookings/{escaped}", f"/api/v1/{escaped}bookings", f"/{escaped}"):
        said = calls.read(calls.http.get(path, headers=world["customer"].headers))
        assert said.http in {400, 404}, (path, said)
        assert "x-y" not in said.headers


def test_headers_in_the_wrong_number_size_and_letters(calls: Calls, world: World) -> None:
    path, mine = "/api/v1/users/me", world["customer"].headers
    many = calls.read(calls.http.get(path, headers=mine | {f"x-{number}": "1" for number in range(1_000)}))
    large = calls.read(calls.http.get(path, headers=mine | {"x-large": "x" * 60_000}))
    assert {(many.http, many.reason), (large.http, large.reason)} == {(431, "PAYLOAD_TOO_LARGE")}
    odd = {"x%y": "1", "x'y": "1", "~": "1", "x-bin": "!!!", "te": "gzip", "grpc-timeout": "nonsense", "x_y": "1"}
    assert calls.read(calls.http.get(path, headers=mine | odd)).ok
    for name in ("x-anything", "user-agent", "accept-language", "traceparent", "x-request-id"):
        raw = [(key.encode(), value.encode()) for key, value in mine.items()]
        said = calls.read(calls.http.get(path, headers=httpx.Headers([*raw, (name.encode(), b"\xff\xfe\x80caf\xe9")])))
        assert said.http < 500, (name, said)


@pytest.mark.parametrize("sent", ["x" * 2_000, "a b\tc", "<script>", "\u00e9\u00e9", "{}"])
def test_request_ids_that_are_none(sent: str, calls: Calls) -> None:
    said = calls.http.get("/api/v1/resources/res_0", headers=_raw("x-request-id", sent)).json()
    assert error_reply(said, None, 400).reason == "INVALID_FIELD"
    # What could not stand in a log is replaced.
    [shown] = [detail["requestId"] for detail in said["details"] if "requestId" in detail]
    assert re.fullmatch(r"[0-9a-f]{32}", shown)


@pytest.mark.parametrize(
    "sent", ["Bearer", "bearer x y", "Basic YTpi", "Bearer " + "x" * 30_000, "Bearer \u00e9", "Bearer a.b.c"]
)
def test_authorizations_that_are_none(sent: str, calls: Calls) -> None:
    for path in ("/api/v1/users/me", "/api/v1/resources"):
        said = calls.read(calls.http.get(path, headers=_raw("authorization", sent)))
        assert (said.http, said.reason) == (401, "TOKEN_INVALID"), path


@pytest.mark.parametrize(
    "slug", ["", "nobody", "DEMO", "ten_01kdwcj2m0f5k8xwatxbn3cw00", "x" * 5_000, "demo\u00e9", "a/b"]
)
def test_tenants_that_are_none(slug: str, calls: Calls) -> None:
    said = calls.read(calls.http.get("/api/v1/resources", headers=_raw("berth-tenant", slug)))
    assert (said.http, said.reason) == (404, "TENANT_UNKNOWN")


def _raw(name: str, value: str) -> httpx.Headers:
    return httpx.Headers([(name.encode(), value.encode())])


@pytest.mark.parametrize("method", EXTERNAL, ids=by_path)
def test_bytes_that_are_no_message(method: Method, calls: Calls, good: dict[str, Good]) -> None:
    headers = good[by_path(method)].headers
    if method.policy.key_use == "REQUIRED":
        headers = headers | {"idempotency-key": "k"}
    for payload in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x0b" * 30_000, b"\x08" * 11, b"{}"):
        reply = calls.by_bytes(method, payload, headers)
        # A method whose message has no such field takes it for one of a later version.
        assert reply.ok or reply.code in {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNAUTHENTICATED", "NOT_FOUND"}, (
            reply
        )
        assert reply.ok or reply.reason in {"MALFORMED_REQUEST", "INVALID_FIELD", "SIGNATURE_INVALID"}, reply
    too_large = calls.by_bytes(method, b"x" * 2_000_000, headers)
    assert too_large.reason == "PAYLOAD_TOO_LARGE"


def test_every_method_is_tried() -> None:
    assert len(REST) + 1 == len([method for method in Contract.read().methods if method.external])
