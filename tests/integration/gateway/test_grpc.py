"""gRPC and gRPC-Web through the gateway: deadlines, refusals with details, and nothing internal."""

import struct

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.integration.gateway.echo import Script

GET = "/berth.booking.v1.BookingService/GetBooking"
EMPTY_FRAME = b"\x00" + struct.pack(">I", 0)


Metadata = tuple[tuple[str, str | bytes], ...]


def call(
    channel: grpc.Channel, path: str, body: bytes = b"", *, timeout: float | None = 5, metadata: Metadata = ()
) -> None:
    """Calls with raw bytes."""
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    method(body, timeout=timeout, metadata=metadata)


def refused(channel: grpc.Channel, path: str, body: bytes = b"") -> tuple[grpc.StatusCode, str]:
    """The code and the reason of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, path, body)
    error = caught.value
    status = rpc_status.from_call(error)
    assert isinstance(status, status_pb2.Status), error.details()
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "berth.dev"
    return error.code(), info.reason


def test_a_clients_deadline_arrives(channel: grpc.Channel, script: Script) -> None:
    call(channel, GET, timeout=1.0)
    assert 0.5 < script.seen[-1].seconds_left <= 1.02


def test_a_call_without_a_deadline_gets_the_contracts(channel: grpc.Channel, script: Script) -> None:
    call(channel, GET, timeout=None)
    assert 1.5 < script.seen[-1].seconds_left <= 2.3


def test_internal_methods_health_and_reflection_are_unknown(channel: grpc.Channel, script: Script) -> None:
    internal = [method.path for method in script.contract.methods if not method.external]
    assert internal
    builtin = ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/a.B/C"]
    for path in [*internal, *builtin]:
        assert refused(channel, path) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN"), path
    assert script.seen == []


def test_every_external_method_is_reachable(channel: grpc.Channel, script: Script) -> None:
    external = [method.path for method in script.contract.external_methods]
    for path in external:
        call(channel, path)
    assert [seen.method for seen in script.seen] == external


def test_a_rest_path_is_no_grpc_method(channel: grpc.Channel, script: Script) -> None:
    assert refused(channel, "/api/v1/bookings") == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


def test_identity_metadata_from_outside_is_dropped(channel: grpc.Channel, script: Script) -> None:
    forged = (("berth-on-behalf-of", "usr_1"), ("berth-on-behalf-of-bin", b"\xff"), ("x-forwarded-client-cert", "x"))
    call(channel, GET, metadata=forged)
    assert (
        not {"berth-on-behalf-of", "berth-on-behalf-of-bin", "x-forwarded-client-cert"}
        & script.seen[-1].metadata.keys()
    )


def test_a_huge_message_is_refused_with_its_reason(channel: grpc.Channel, script: Script) -> None:
    assert refused(channel, GET, b"x" * 2_000_000) == (grpc.StatusCode.INVALID_ARGUMENT, "PAYLOAD_TOO_LARGE")


def test_a_services_refusal_passes_unchanged(channel: grpc.Channel, script: Script) -> None:
    def refuse(request: object, context: grpc.ServicerContext) -> None:
        status = status_pb2.Status(code=grpc.StatusCode.ABORTED.value[0], message="taken")
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason="SLOT_TAKEN", domain="berth.dev"))
        context.abort_with_status(rpc_status.to_status(status))

    script.answers[GET] = refuse
    assert refused(channel, GET) == (grpc.StatusCode.ABORTED, "SLOT_TAKEN")


def web(rest: httpx.Client, path: str, **headers: str) -> httpx.Response:
    """Calls as a browser does by gRPC-Web."""
    sent = {"content-type": "application/grpc-web+proto", "x-grpc-web": "1"} | headers
    return rest.post(path, content=EMPTY_FRAME, headers=sent)


def test_grpc_web_is_served(rest: httpx.Client, script: Script) -> None:
    response = web(rest, GET)
    assert response.status_code == 200
    assert b"grpc-status:0" in response.content
    assert script.seen[-1].method == GET


def test_grpc_web_refusals_are_grpcs(rest: httpx.Client, script: Script) -> None:
    unknown = web(rest, "/berth.inventory.v1.BookingHoldService/PostHold")
    assert (unknown.status_code, unknown.headers["grpc-status"]) == (200, "12")
    token = web(rest, GET, authorization="Bearer x")
    assert (token.status_code, token.headers["grpc-status"]) == (200, "16")
    assert script.seen == []
