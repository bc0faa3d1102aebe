"""Calls any method of the contracts over REST, over gRPC through the gateway, or straight at its service by mTLS."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import grpc
import httpx
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from gateway.contract import Contract, Method
from tests.journey.world.used import Used
from tests.mesh import Mesh

DOMAIN = "berth.dev"
SECONDS = 20.0  # a call of a test may take

# contracts.md, "Errors"; 413, 415, 405 and 431 are the gateway's own.
HTTP_OF = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
GATEWAYS_OWN = {405, 413, 415, 431}
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_REQUEST = "type.googleapis.com/google.rpc.RequestInfo"
_BAD = "type.googleapis.com/google.rpc.BadRequest"


class ShapeError(AssertionError):
    """An answer that is not as contracts.md promises."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in one form for both wires; what differs from call to call (the request's id) is taken out."""

    code: str  # `OK`, or the gRPC code's name
    reason: str  # `OK`, or ErrorInfo's
    body: Any = field(hash=False)  # the message as JSON, or message and details
    http: int = 0
    fields: tuple[str, ...] = ()  # of the violations
    headers: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.code == "OK"


def error_reply(error: Mapping[str, Any], request_id: str | None, http: int = 0) -> Reply:
    """An error's Reply; raises ShapeError unless it has exactly the documented shape."""
    if set(error) != {"code", "message", "details"} or not error["message"]:
        raise ShapeError(f"an error is code, message and details, not {error}")
    by_type: dict[str, list[Any]] = {}
    for detail in error["details"]:
        by_type.setdefault(detail["@type"], []).append(detail)
    infos, requests = by_type.get(_INFO, []), by_type.get(_REQUEST, [])
    if len(infos) != 1 or infos[0]["domain"] != DOMAIN or not infos[0]["reason"]:
        raise ShapeError(f"an error has exactly one ErrorInfo of {DOMAIN}: {error}")
    # The gateway's own refusals to gRPC callers name it in the headers alone.
    if len(requests) > 1 or (http and not requests) or any(not shown["requestId"] for shown in requests):
        raise ShapeError(f"an error names its request: {error}")
    if request_id is not None and [shown["requestId"] for shown in requests] != [request_id]:
        raise ShapeError(f"RequestInfo says {requests}, the header {request_id}")
    code = _CODES[error["code"]]
    if http and http not in GATEWAYS_OWN and HTTP_OF[code] != http:
        raise ShapeError(f"{code} came as HTTP {http}")
    details = [detail for detail in error["details"] if detail["@type"] != _REQUEST]
    violations = [found for bad in by_type.get(_BAD, []) for found in bad["fieldViolations"]]
    return Reply(
        code,
        infos[0]["reason"],
        {"message": error["message"], "details": details},
        http,
        tuple(found.get("field", "") for found in violations),
    )


class Calls:
    """Everybody's line to the mesh."""

    def __init__(self, mesh: Mesh, used: Used) -> None:
        self.mesh, self.used = mesh, used
        self.contract = Contract.read()
        self.methods = {method.path: method for method in self.contract.methods}
        self._stack = ExitStack()
        self.http = self._stack.enter_context(httpx.Client(base_url=mesh.gateway_url, timeout=SECONDS))
        target = mesh.gateway_url.removeprefix("http://")
        self.edge = self._stack.enter_context(grpc.insecure_channel(target))
        self._straight: dict[tuple[str, str], grpc.Channel] = {}

    def close(self) -> None:
        """Hang up."""
        self._stack.close()

    def method(self, path: str) -> Method:
        """A method by the end of its path: `BookingService/GetBooking`."""
        (found,) = [method for known, method in self.methods.items() if known.endswith("." + path)]
        return found

    def straight(self, service: str, certificate: str) -> grpc.Channel:
        """A channel to a service by mTLS, with the certificate of somebody."""
        if (service, certificate) not in self._straight:
            address, credentials, options = self.mesh.channel_arguments(service, certificate)
            channel = grpc.secure_channel(address, credentials, options)
            self._straight[service, certificate] = self._stack.enter_context(channel)
        return self._straight[service, certificate]

    def by_rest(
        self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str], *, key: str | None = None
    ) -> Reply:
        """Calls by the method's REST path."""
        binding = method.bindings[0]
        path, rest = binding.template, dict(fields)
        for known in method.descriptor.input_type.fields:
            if f"{{{known.name}}}" in path:
                path = path.replace(f"{{{known.name}}}", _quoted(rest.pop(known.json_name, "")))
        sent = dict(headers) | _key(method, key)
        if method.takes_bytes:
            content = base64.b64decode(rest.get("data", ""))
            response = self.http.request(binding.verb, path, content=content, headers=sent)
        elif binding.has_body:
            # By hand: the client's own way cannot send what JSON can say and UTF-8 cannot.
            sent["content-type"] = "application/json"
            response = self.http.request(binding.verb, path, content=json.dumps(rest).encode(), headers=sent)
        else:
            response = self.http.request(binding.verb, path, params=_query(rest), headers=sent)
        return self.read(response)

    def read(self, response: httpx.Response) -> Reply:
        """A REST answer's Reply."""
        if response.headers.get("content-type") != "application/json":
            raise ShapeError(f"{response.status_code} is not JSON: {response.text[:200]}")
        try:
            body = response.json()
        except ValueError as error:
            raise ShapeError(f"{response.status_code} is not JSON: {response.text[:200]}") from error
        if response.is_success:
            self.used.learn(body)
            return Reply("OK", "OK", body, response.status_code, headers=dict(response.headers))
        refused = error_reply(body, response.headers.get("x-request-id"), response.status_code)
        return replace(refused, headers=dict(response.headers))

    def by_grpc(
        self,
        method: Method,
        fields: Mapping[str, Any],
        metadata: Mapping[str, str],
        *,
        channel: grpc.Channel | None = None,
        key: str | None = None,
    ) -> Reply:
        """Calls by gRPC: through the gateway, or by the channel given."""
        request = ParseDict(dict(fields), self.contract.message_class(method.descriptor.input_type.full_name)())
        sent = {name.lower(): value for name, value in metadata.items()} | _key(method, key)
        return self.by_bytes(method, request.SerializeToString(), sent, channel=channel)

    def by_bytes(
        self, method: Method, payload: bytes, metadata: Mapping[str, str], *, channel: grpc.Channel | None = None
    ) -> Reply:
        """Calls by gRPC with bytes that may be no message at all."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = (channel or self.edge).unary_unary(method.path)
        try:
            answer = call(payload, timeout=SECONDS, metadata=tuple((n.lower(), v) for n, v in metadata.items()))
        except grpc.RpcError as error:
            return _grpc_error(error)
        message = self.contract.message_class(method.descriptor.output_type.full_name).FromString(answer)
        body = MessageToDict(message, descriptor_pool=self.contract.pool)
        self.used.learn(body)
        return Reply("OK", "OK", body)


def _grpc_error(error: grpc.RpcError) -> Reply:
    status = rpc_status.from_call(error)
    if not isinstance(status, status_pb2.Status):
        raise ShapeError(f"{error.code().name} has no details: {error.details()}")
    details: list[dict[str, Any]] = []
    for detail in status.details:
        known: Message = _DETAILS[detail.type_url]()
        detail.Unpack(known)
        shown = MessageToDict(known, always_print_fields_with_no_presence=True)
        details.append({"@type": detail.type_url, **shown})
    return error_reply({"code": status.code, "message": status.message, "details": details}, None)


_DETAILS: Mapping[str, Any] = {
    f"type.googleapis.com/google.rpc.{name}": getattr(error_details_pb2, name)
    for name in ("ErrorInfo", "RequestInfo", "BadRequest", "RetryInfo")
}


def _key(method: Method, key: str | None) -> dict[str, str]:
    if key is None and method.policy.key_use == "KEY_USE_UNSPECIFIED":
        return {}
    return {"idempotency-key": uuid.uuid4().hex if key is None else key}


def _query(fields: Mapping[str, Any]) -> dict[str, str]:
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _quoted(value: Any) -> str:
    return quote(_text(value), safe="")


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "replace").decode()
