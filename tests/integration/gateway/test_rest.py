"""REST through the gateway: what reaches the service, and what a wrong request is answered."""

import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import ServicerContext, StatusCode
from grpc_status import rpc_status

from tests.integration.gateway.echo import Script

BOOKING = "/api/v1/bookings/bkg_01"
CREATE = "/berth.booking.v1.BookingService/CreateBooking"
GET = "/berth.booking.v1.BookingService/GetBooking"


def refusal(response: httpx.Response) -> tuple[int, int, str]:
    """The HTTP status, the code and the reason of an error, whose shape is checked on the way."""
    assert response.headers["content-type"] == "application/json", response.text
    body = response.json()
    assert set(body) == {"code", "message", "details"}
    assert body["message"]
    [info] = [detail for detail in body["details"] if detail["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"]
    assert info["domain"] == "berth.dev"
    [request] = [
        detail for detail in body["details"] if detail["@type"] == "type.googleapis.com/google.rpc.RequestInfo"
    ]
    assert request["requestId"] == response.headers.get("x-request-id")
    return response.status_code, body["code"], info["reason"]


def test_reads_reach_their_service_with_path_and_query(rest: httpx.Client, script: Script) -> None:
    response = rest.get("/api/v1/users/me/bookings", params={"status": "CONFIRMED", "pageSize": "7"})
    assert response.status_code == 200
    [seen] = script.seen
    assert seen.method == "/berth.booking.v1.BookingService/ListUserBookings"
    assert (seen.request.user_id, seen.request.page_size) == ("me", 7)


def test_defaults_are_printed_and_enums_are_names(rest: httpx.Client, script: Script) -> None:
    body = rest.get(BOOKING).json()
    assert body["status"] == "STATUS_UNSPECIFIED"
    assert (body["quantity"], body["items"]) == (0, [])


def test_a_create_answers_201_and_a_read_200(rest: httpx.Client, script: Script) -> None:
    assert rest.post("/api/v1/bookings", json={"resourceId": "res_1"}).status_code == 201
    assert rest.post("/api/v1/availability/check", json={}).status_code == 200
    assert rest.get(BOOKING).status_code == 200


def test_a_failed_create_is_no_201(rest: httpx.Client, script: Script) -> None:
    script.answers[CREATE] = lambda request, context: context.abort(StatusCode.ABORTED, "taken")
    assert rest.post("/api/v1/bookings", json={}).status_code == 409


def test_key_tenant_and_request_id_travel_as_metadata(rest: httpx.Client, script: Script) -> None:
    headers = {"Idempotency-Key": "k-1", "Berth-Tenant": "harbour", "X-Request-Id": "r-1", "Authorization": "x"}
    response = rest.post("/api/v1/auth/login", json={}, headers=headers)
    metadata = script.seen[-1].metadata
    assert (metadata["idempotency-key"], metadata["berth-tenant"], metadata["x-request-id"]) == (
        "k-1",
        "harbour",
        "r-1",
    )
    assert metadata["authorization"] == "x"
    assert response.headers["x-request-id"] == "r-1"


def test_the_default_tenant_and_a_request_id_are_added(rest: httpx.Client, script: Script) -> None:
    rest.get(BOOKING)
    metadata = script.seen[-1].metadata
    assert metadata["berth-tenant"] == "demo"
    assert len(metadata["x-request-id"]) == 36


@pytest.mark.parametrize("sent", ["", "1S", "99999999H", "abc"])
def test_a_rest_call_gets_the_contracts_deadline_whatever_it_sends(
    rest: httpx.Client, script: Script, sent: str
) -> None:
    rest.get(BOOKING, headers={"grpc-timeout": sent} if sent else {})
    assert 1.5 < script.seen[-1].seconds_left <= 2.3


def test_identity_headers_from_outside_are_dropped(rest: httpx.Client, script: Script) -> None:
    forged = {
        "berth-on-behalf-of": "usr_1",
        "berth-on-behalf-of-tenant": "ten_1",
        "x-forwarded-client-cert": "By=x;DNS=booking",
        "x-envoy-original-path": "/x",
        "x-foo-bin": "!!!",
        "grpc-tags-bin": "AAA",
    }
    assert rest.get(BOOKING, headers=forged).status_code == 200
    metadata = script.seen[-1].metadata
    assert not [name for name in metadata if name.startswith("berth-on-behalf") or name.endswith("-bin")]
    assert "x-forwarded-client-cert" not in metadata
    assert metadata["x-envoy-original-path"] == BOOKING


def test_headers_that_grpc_cannot_carry_are_dropped(rest: httpx.Client, script: Script) -> None:
    odd = {"x%y": "1", "x'y": "1", "~x": "1", "x!": "1", "x|y^z`": "1"}
    assert rest.get(BOOKING, headers={**odd, "X-Kept.too-1": "1"}).status_code == 200
    metadata = script.seen[-1].metadata
    assert metadata["x-kept.too-1"] == "1"
    assert not odd.keys() & metadata.keys()


def test_a_webhooks_bytes_arrive_as_they_were_sent(rest: httpx.Client, script: Script) -> None:
    raw = b'{ "a" :1.0,\n\t"b":"\\u00e9"}  \n'
    headers = {"stripe-signature": "t=1,v1=x", "content-type": "application/json; charset=utf-8"}
    assert rest.post("/api/v1/webhooks/stripe", content=raw, headers=headers).status_code == 200
    [seen] = script.seen
    assert seen.request.data == raw
    assert seen.metadata["stripe-signature"] == "t=1,v1=x"


def test_a_services_refusal_arrives_with_its_details(rest: httpx.Client, script: Script) -> None:
    def refuse(request: object, context: ServicerContext) -> None:
        status = status_pb2.Status(code=StatusCode.UNAVAILABLE.value[0], message="out")
        info = error_details_pb2.ErrorInfo(reason="DRAINING", domain="berth.dev", metadata={"a": "b"})
        status.details.add().Pack(info)
        status.details.add().Pack(error_details_pb2.BadRequest())
        context.set_trailing_metadata((("retry-after", "3"), *rpc_status.to_status(status).trailing_metadata))
        context.abort(StatusCode.UNAVAILABLE, "out")

    script.answers[GET] = refuse
    response = rest.get(BOOKING)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"
    assert response.json()["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "DRAINING",
        "domain": "berth.dev",
        "metadata": {"a": "b"},
    }


def test_unknown_paths_are_404(rest: httpx.Client, script: Script) -> None:
    for path in (
        "/",
        "/nope",
        "/api/v1/bookings/",
        "/api/v1/bookings/x/y/z",
        "/api/v2/bookings",
        "/api/v1/bookings/%ff",
    ):
        assert refusal(rest.get(path)) == (404, 5, "ROUTE_NOT_FOUND"), path
    assert script.seen == []


def test_wrong_verbs_are_405_and_name_the_right_ones(rest: httpx.Client, script: Script) -> None:
    response = rest.delete("/api/v1/auth/login")
    assert refusal(response) == (405, 12, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"
    assert refusal(rest.put(BOOKING, json={})) == (405, 12, "METHOD_NOT_ALLOWED")
    assert rest.head(BOOKING).status_code == 405
    assert script.seen == []


@pytest.mark.parametrize(
    "path",
    ["/api/v1/bookings/bkg_1?bogus=1", "/api/v1/users/me/bookings?page=abc", "/api/v1/users/me/bookings?status=NO"],
)
def test_wrong_queries_are_400(rest: httpx.Client, script: Script, path: str) -> None:
    assert refusal(rest.get(path)) == (400, 3, "MALFORMED_REQUEST")


@pytest.mark.parametrize(
    "body",
    [b"{bad", b"[1]", b'"x"', b"[" * 20_000, b'{"a":' * 20_000, b'{"email":"\xff\xfe"}', b'{"email":5}', b"\x00"],
    ids=["broken", "list", "text", "deep list", "deep object", "no utf-8", "wrong type", "nul"],
)
def test_wrong_bodies_are_400(rest: httpx.Client, script: Script, body: bytes) -> None:
    response = rest.post("/api/v1/auth/login", content=body, headers={"content-type": "application/json"})
    assert refusal(response) == (400, 3, "MALFORMED_REQUEST")
    assert script.seen == []


def test_a_body_that_is_not_json_is_415(rest: httpx.Client, script: Script) -> None:
    assert refusal(rest.post("/api/v1/auth/login", data={"email": "x"})) == (415, 3, "MALFORMED_REQUEST")
    xml = {"content-type": "application/xml"}
    assert refusal(rest.post("/api/v1/auth/login", content=b"<a/>", headers=xml)) == (415, 3, "MALFORMED_REQUEST")
    assert rest.post("/api/v1/bookings/bkg_1/cancel").status_code == 200


def test_a_query_parameter_does_not_override_a_body_field(rest: httpx.Client, script: Script) -> None:
    assert refusal(rest.post("/api/v1/auth/login?email=b@b.b", json={"email": "a@a.a"}))[0] == 400
    rest.post("/api/v1/bookings/bkg_1/cancel", json={"bookingId": "bkg_2"})
    assert [seen.request.booking_id for seen in script.seen] in (["bkg_1"], [])


def test_a_huge_body_is_413(rest: httpx.Client, script: Script) -> None:
    huge = b'{"email":"' + b"x" * 6_000_000 + b'"}'
    response = rest.post("/api/v1/auth/login", content=huge, headers={"content-type": "application/json"})
    assert refusal(response) == (413, 3, "PAYLOAD_TOO_LARGE")
    assert script.seen == []


def test_too_many_and_too_large_headers_are_431(rest: httpx.Client) -> None:
    many = rest.get(BOOKING, headers={f"x-{number}": "1" for number in range(1000)})
    large = rest.get(BOOKING, headers={"x-large": "x" * 60_000})
    assert [response.status_code for response in (many, large)] == [431, 431]
    assert many.json()["details"][0]["reason"] == "PAYLOAD_TOO_LARGE"


def test_internal_methods_have_no_way_in(rest: httpx.Client, script: Script) -> None:
    for method in script.contract.methods:
        for content_type in ("application/json", "application/x-protobuf"):
            response = rest.post(method.path, content=b"{}", headers={"content-type": content_type})
            assert refusal(response) == (404, 5, "ROUTE_NOT_FOUND"), method.path
    assert script.seen == []


def test_the_admin_interface_is_not_on_the_public_port(rest: httpx.Client) -> None:
    assert refusal(rest.get("/config_dump")) == (404, 5, "ROUTE_NOT_FOUND")
    assert refusal(rest.post("/quitquitquit", json={})) == (404, 5, "ROUTE_NOT_FOUND")
