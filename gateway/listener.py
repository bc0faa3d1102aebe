"""Envoy's one listener: REST, gRPC and gRPC-Web on one port, with what comes in cleaned before anything sees it."""

from datetime import timedelta
from pathlib import Path

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    ComparisonFilter,
    ComparisonFilterOp,
    DurationFilter,
    GrpcStatusFilter,
    GrpcStatusFilterStatus,
    OrFilter,
    StatusCodeFilter,
)
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutation, HeaderMutationRemoveOnMatch
from envoy_data_plane.envoy.config.core.v3 import (
    Http2ProtocolOptions,
    HttpProtocolOptions,
    HttpProtocolOptionsHeadersWithUnderscoresAction,
    RuntimeUInt32,
    SubstitutionFormatString,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerPathWithEscapedSlashesAction,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    HeaderMutation as EarlyHeaderMutation,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any, Struct

from gateway import limits
from gateway.clusters import address
from gateway.contract import Contract
from gateway.filters import http_filters
from gateway.refusals import REQUEST_ID, local_replies
from gateway.routes import route_configuration

# What only we may say. Nothing from outside may claim who somebody is, or speak to Envoy itself; and the bytes of a
# `-bin` header could be broken, which only gRPC would notice, as a fault of its own.
NOT_FROM_OUTSIDE = (
    StringMatcher(prefix="berth-on-behalf-of"),
    StringMatcher(prefix="berth-principal"),
    StringMatcher(prefix="berth-peer"),
    StringMatcher(prefix="berth-caller"),
    StringMatcher(prefix="x-forwarded-client-cert"),
    StringMatcher(prefix="x-envoy-"),
    StringMatcher(prefix="grpc-previous-rpc-attempts"),
    StringMatcher(suffix="-bin"),
    # HTTP allows more letters in names than gRPC's metadata, which fails the whole call over one of them.
    StringMatcher(safe_regex=RegexMatcher(regex=r".*[^a-z0-9_.:-].*")),
)

# gRPC answers 200 whatever it says; UNKNOWN is missing because Envoy reads a 201 as that.
LOGGED_CODES = (
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "UNAUTHENTICATED",
)


def listener(
    contract: Contract, *, host: str, port: int, descriptor_set: Path, jwks: str | None, default_tenant: str
) -> Listener:
    """The listener at `host:port`."""
    manager = HttpConnectionManager(
        stat_prefix="berth",
        route_config=route_configuration(contract, default_tenant=default_tenant),
        http_filters=http_filters(contract, descriptor_set, jwks),
        local_reply_config=local_replies(),
        access_log=[_access_log()],
        server_name="berth",
        use_remote_address=True,
        generate_request_id=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        early_header_mutation_extensions=[_clean_headers()],
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST,
        max_request_headers_kb=limits.REQUEST_HEADERS_KIB,
        request_timeout=limits.REQUEST_ARRIVAL,
        request_headers_timeout=limits.HEADERS_ARRIVAL,
        stream_idle_timeout=timedelta(minutes=1),
        # A broken request costs its stream; other calls on the connection go on.
        stream_error_on_invalid_http_message=True,
        common_http_protocol_options=HttpProtocolOptions(
            idle_timeout=limits.CONNECTION_IDLE,
            max_headers_count=limits.REQUEST_HEADERS_COUNT,
            headers_with_underscores_action=HttpProtocolOptionsHeadersWithUnderscoresAction.DROP_HEADER,
        ),
        http2_protocol_options=Http2ProtocolOptions(
            max_concurrent_streams=limits.STREAMS_PER_CONNECTION,
            initial_stream_window_size=64 * 1024,
            initial_connection_window_size=1024 * 1024,
        ),
    )
    network = Filter(name="envoy.filters.network.http_connection_manager", typed_config=Any.pack(manager))
    return Listener(
        name="berth",
        address=address(f"{host}:{port}"),
        per_connection_buffer_limit_bytes=limits.CONNECTION_BUFFER_BYTES,
        filter_chains=[FilterChain(filters=[network])],
    )


def _clean_headers() -> TypedExtensionConfig:
    removals = [HeaderMutationRemoveOnMatch(key_matcher=matcher) for matcher in NOT_FROM_OUTSIDE]
    mutation = EarlyHeaderMutation(mutations=[HeaderMutation(remove_on_match=removal) for removal in removals])
    return TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation", typed_config=Any.pack(mutation)
    )


def _access_log() -> AccessLog:
    # Refused and slow calls only; without query strings, bodies or tokens.
    line = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ)%",
        "route": "%ROUTE_NAME%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "why": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "milliseconds": "%DURATION%",
        "endpoint": "%UPSTREAM_HOST%",
        "request_id": REQUEST_ID,
    }
    failed = ComparisonFilter(
        op=ComparisonFilterOp.GE, value=RuntimeUInt32(default_value=400, runtime_key="berth.access_log.status")
    )
    slow = ComparisonFilter(
        op=ComparisonFilterOp.GE, value=RuntimeUInt32(default_value=1000, runtime_key="berth.access_log.milliseconds")
    )
    codes = [GrpcStatusFilterStatus[name] for name in LOGGED_CODES]
    return AccessLog(
        name="envoy.access_loggers.stdout",
        filter=AccessLogFilter(
            or_filter=OrFilter(
                filters=[
                    AccessLogFilter(status_code_filter=StatusCodeFilter(comparison=failed)),
                    AccessLogFilter(grpc_status_filter=GrpcStatusFilter(statuses=codes)),
                    AccessLogFilter(duration_filter=DurationFilter(comparison=slow)),
                ]
            )
        ),
        typed_config=Any.pack(StdoutAccessLog(log_format=SubstitutionFormatString(json_format=Struct.from_dict(line)))),
    )
