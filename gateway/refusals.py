"""The gateway's own refusals, in the shape of every other error: google.rpc.Status as JSON, or as gRPC details."""

import base64
import json
from typing import NamedTuple

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLogFilter,
    AndFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    ExtensionFilter,
    HeaderFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeUInt32,
    SubstitutionFormatString,
)
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    LocalReplyConfig,
    ResponseMapper,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.limits import RETRY_AFTER_SECONDS

DOMAIN = "berth.dev"

# The request's id; for a request too broken to be given one, the microsecond of its start, which the log has too.
_NAMES = [{"command": "REQ", "param": "x-request-id"}, {"command": "START_TIME", "param": "%s%6f"}]
REQUEST_ID = f"%COALESCE({json.dumps({'operators': _NAMES})})%"


class Refusal(NamedTuple):
    """What one status of Envoy's own means, and what it is answered with."""

    found: int
    status: int
    code: str
    reason: str
    message: str
    passes: bool = False


REFUSALS = (
    Refusal(400, 400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "The request could not be read. %LOCAL_REPLY_BODY%"),
    Refusal(401, 401, "UNAUTHENTICATED", "TOKEN_INVALID", "The token is not ours, was changed, or has expired."),
    # Envoy's answer to another audience.
    Refusal(403, 401, "UNAUTHENTICATED", "TOKEN_INVALID", "The token is not ours, was changed, or has expired."),
    Refusal(404, 404, "NOT_FOUND", "ROUTE_NOT_FOUND", "No method has this path."),
    Refusal(405, 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "The path exists, with another verb."),
    Refusal(408, 408, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "The request did not arrive in time."),
    Refusal(413, 413, "INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", "The request's body is larger than is taken."),
    Refusal(415, 415, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "The body must be sent as application/json."),
    Refusal(429, 429, "RESOURCE_EXHAUSTED", "RATE_LIMITED", "Too many calls; try again later.", passes=True),
    Refusal(431, 431, "INVALID_ARGUMENT", "PAYLOAD_TOO_LARGE", "The request's headers are larger than is taken."),
    # A transfer coding, a protocol version or an upgrade that is not spoken here.
    Refusal(426, 400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "This way of HTTP is not spoken here."),
    Refusal(501, 400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "This way of HTTP is not spoken here."),
    Refusal(505, 400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", "This way of HTTP is not spoken here."),
    Refusal(502, 503, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "The service cannot be reached.", passes=True),
    Refusal(503, 503, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "The service cannot be reached.", passes=True),
    Refusal(504, 504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", "The call did not end in time."),
)
# For gRPC an unknown path is an unknown method.
METHOD_UNKNOWN = Refusal(404, 404, "UNIMPLEMENTED", "METHOD_UNKNOWN", "No method has this name.")
# Without auth's keys a token cannot be judged: that is not the token's fault.
KEYS_MISSING = Refusal(401, 503, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE", "Tokens cannot be checked now.", passes=True)
FAULT = Refusal(500, 500, "INTERNAL", "INTERNAL", "A fault of ours; the log has the rest under the request id.")

_KEYS_MISSING = AccessLogFilter(
    extension_filter=ExtensionFilter(
        name="envoy.access_loggers.extension_filters.cel",
        typed_config=Any.pack(ExpressionFilter(expression='response.code_details.contains("remote_fetch")')),
    )
)


def local_replies() -> LocalReplyConfig:
    """Maps every answer that Envoy gives by itself; gRPC callers get the same reasons as status details."""
    for_grpc = (METHOD_UNKNOWN, *(refusal for refusal in REFUSALS if refusal.found != METHOD_UNKNOWN.found), FAULT)
    mappers = [_grpc_mapper(KEYS_MISSING, _KEYS_MISSING), *(_grpc_mapper(refusal) for refusal in for_grpc)]
    mappers += [_json_mapper(KEYS_MISSING, _KEYS_MISSING), *(_json_mapper(refusal) for refusal in (*REFUSALS, FAULT))]
    return LocalReplyConfig(mappers=mappers, body_format=_json(FAULT))


def _json_mapper(refusal: Refusal, *more: AccessLogFilter) -> ResponseMapper:
    return ResponseMapper(
        filter=_all(_status_is(refusal.found), *more),
        status_code=refusal.status,
        body_format_override=_json(refusal),
        headers_to_add=_retry_after(refusal),
    )


def _grpc_mapper(refusal: Refusal, *more: AccessLogFilter) -> ResponseMapper:
    details = status_pb2.Status(code=code_pb2.Code.Value(refusal.code), message=_plain(refusal.message))
    details.details.add().Pack(error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN))
    if refusal.passes:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(RETRY_AFTER_SECONDS)
        details.details.add().Pack(retry)
    encoded = base64.b64encode(details.SerializeToString(deterministic=True)).decode().rstrip("=")
    # The transcoder makes a REST request look like gRPC, but keeps its path in a header that callers cannot send.
    grpc = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    transcoded = HeaderMatcher(name="x-envoy-original-path", present_match=True, invert_match=True)
    return ResponseMapper(
        filter=_all(_status_is(refusal.found), _header_is(grpc), _header_is(transcoded), *more),
        # As for every gRPC answer; without it gRPC-Web callers would get HTTP's status instead of ours.
        status_code=200,
        # No body: gRPC-Web would frame it as a message.
        body_format_override=SubstitutionFormatString(
            text_format_source=DataSource(inline_string=""), content_type="application/grpc"
        ),
        headers_to_add=[
            header("grpc-message", details.message),
            header("grpc-status", str(code_pb2.Code.Value(refusal.code))),
            header("grpc-status-details-bin", encoded),
            *_retry_after(refusal),
        ],
    )


def header(name: str, value: str) -> HeaderValueOption:
    """A header that replaces what is there."""
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _status_is(status: int) -> AccessLogFilter:
    # Envoy wants a runtime key by which the number could be overridden; nothing sets it.
    value = RuntimeUInt32(default_value=status, runtime_key=f"berth.refusal.{status}")
    return AccessLogFilter(
        status_code_filter=StatusCodeFilter(comparison=ComparisonFilter(op=ComparisonFilterOp.EQ, value=value))
    )


def _all(*filters: AccessLogFilter) -> AccessLogFilter:
    return filters[0] if len(filters) == 1 else AccessLogFilter(and_filter=AndFilter(filters=list(filters)))


def _header_is(matcher: HeaderMatcher) -> AccessLogFilter:
    return AccessLogFilter(header_filter=HeaderFilter(header=matcher))


def _retry_after(refusal: Refusal) -> list[HeaderValueOption]:
    return [header("retry-after", str(RETRY_AFTER_SECONDS))] if refusal.passes else []


def _plain(message: str) -> str:
    return message.removesuffix(" %LOCAL_REPLY_BODY%")


def _json(refusal: Refusal) -> SubstitutionFormatString:
    details: list[dict[str, object]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": refusal.reason,
            "domain": DOMAIN,
            "metadata": {},
        },
        {
            "@type": "type.googleapis.com/google.rpc.RequestInfo",
            "requestId": REQUEST_ID,
            "servingData": "",
        },
    ]
    if refusal.passes:
        details.append(
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{RETRY_AFTER_SECONDS}s"},
        )
    body = {"code": code_pb2.Code.Value(refusal.code), "message": refusal.message, "details": details}
    return SubstitutionFormatString(json_format=Struct.from_dict(body), content_type="application/json")
