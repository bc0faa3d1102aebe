"""Envoy's HTTP filters, in the one order in which a request passes them."""

from pathlib import Path

from betterproto2 import Message
from envoy_data_plane.envoy.config.core.v3 import DataSource, HttpUri
from envoy_data_plane.envoy.extensions.filters.http.buffer.v3 import Buffer
from envoy_data_plane.envoy.extensions.filters.http.grpc_json_transcoder.v3 import (
    GrpcJsonTranscoder,
    GrpcJsonTranscoderPrintOptions,
    GrpcJsonTranscoderRequestValidationOptions,
)
from envoy_data_plane.envoy.extensions.filters.http.grpc_web.v3 import GrpcWeb
from envoy_data_plane.envoy.extensions.filters.http.jwt_authn.v3 import (
    JwksAsyncFetch,
    JwtAuthentication,
    JwtCacheConfig,
    JwtHeader,
    JwtProvider,
    JwtRequirement,
    JwtRequirementOrList,
    RemoteJwks,
)
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import Lua
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.google.protobuf import Any, Empty

from gateway.clusters import ITSELF
from gateway.contract import Contract
from gateway.limits import JWKS_FETCH, JWKS_KEPT, JWKS_RETRY, REQUEST_BODY_BYTES, TOKEN_CLOCK_SKEW_SECONDS, TOKENS_KNOWN
from gateway.routes import JWT_FILTER, LUA_FILTER, RATE_FILTER, TOKEN_REQUIREMENT

ISSUER = AUDIENCE = "berth"
JWKS_PATH = "/.well-known/jwks.json"
TRANSCODER_FILTER = "envoy.filters.http.grpc_json_transcoder"


def http_filters(contract: Contract, descriptor_set: Path, jwks: str | None) -> list[HttpFilter]:
    """The filters; each line says why it stands where it does."""
    return [
        # First: what follows sees gRPC-Web as gRPC.
        _filter("envoy.filters.http.grpc_web", GrpcWeb()),
        # Before anything costs: a caller beyond its rate is refused without a signature being checked.
        _filter(RATE_FILTER, LocalRateLimit(stat_prefix="berth")),
        # Before the body is read: who has no good token does not make us keep a body.
        _filter(JWT_FILTER, _tokens(jwks)),
        # Before the transcoder, whose own limit would answer 429.
        _filter("envoy.filters.http.buffer", Buffer(max_request_bytes=REQUEST_BODY_BYTES)),
        # Before the transcoder, so that on the way back it sees the finished HTTP answer.
        _filter(LUA_FILTER, _created(contract)),
        _filter(TRANSCODER_FILTER, _transcoder(contract, descriptor_set)),
        _filter("envoy.filters.http.router", Router(suppress_envoy_headers=True)),
    ]


def _transcoder(contract: Contract, descriptor_set: Path) -> GrpcJsonTranscoder:
    services = {method.service for method in contract.external_methods if method.bindings}
    return GrpcJsonTranscoder(
        proto_descriptor=str(descriptor_set),
        services=sorted(services),
        # The route is the one of the REST path: with its deadline, its rate and its token rule.
        match_incoming_request_route=True,
        convert_grpc_status=True,
        print_options=GrpcJsonTranscoderPrintOptions(always_print_primitive_fields=True),
        # Unknown paths and verbs pass on to the routes, which answer 404 and 405 apart.
        request_validation_options=GrpcJsonTranscoderRequestValidationOptions(
            reject_unknown_query_parameters=True,
            reject_binding_body_field_collisions=True,
        ),
        max_request_body_size=REQUEST_BODY_BYTES,
    )


def _tokens(jwks: str | None) -> JwtAuthentication:
    # The keys come from auth through this very listener: fetched in the background, so that valid tokens go on working
    # while auth is out. The last set that was known serves a start at which auth is out.
    fresh = RemoteJwks(
        http_uri=HttpUri(uri=f"http://{ITSELF}{JWKS_PATH}", cluster=ITSELF, timeout=JWKS_FETCH),
        cache_duration=JWKS_KEPT,
        async_fetch=JwksAsyncFetch(fast_listener=True, failed_refetch_duration=JWKS_RETRY),
    )
    providers = {"fresh": _provider(remote_jwks=fresh)}
    if jwks:
        providers["kept"] = _provider(local_jwks=DataSource(inline_string=jwks))
    accepted = [JwtRequirement(provider_name=name) for name in providers]
    # A missing token is left to the service, whose answer is the same as the gateway's would have to be.
    rule = JwtRequirement(
        requires_any=JwtRequirementOrList(requirements=[*accepted, JwtRequirement(allow_missing=Empty())])
    )
    return JwtAuthentication(
        providers=providers,
        requirement_map={TOKEN_REQUIREMENT: rule},
        # The refusal's own header would repeat the whole URL; the answer is ours.
        strip_failure_response=True,
    )


def _provider(*, remote_jwks: RemoteJwks | None = None, local_jwks: DataSource | None = None) -> JwtProvider:
    return JwtProvider(
        issuer=ISSUER,
        audiences=[AUDIENCE],
        remote_jwks=remote_jwks,
        local_jwks=local_jwks,
        # Only the header: a token in a query string ends up in logs.
        from_headers=[JwtHeader(name="authorization", value_prefix="Bearer ")],
        # The service checks it again: it decides on the person, not on the gateway's word.
        forward=True,
        require_expiration=True,
        clock_skew_seconds=TOKEN_CLOCK_SKEW_SECONDS,
        # A person's calls come with the same token; its signature is checked once, its time at each call.
        jwt_cache_config=JwtCacheConfig(jwt_cache_size=TOKENS_KNOWN),
    )


def _created(contract: Contract) -> Lua:
    statuses = {method.policy.http_success for method in contract.external_methods} - {200}
    return Lua(source_codes={str(status): DataSource(inline_string=_script(status)) for status in sorted(statuses)})


def _script(status: int) -> str:
    return f"""function envoy_on_response(handle)
  local headers = handle:headers()
  local content = headers:get("content-type") or ""
  if headers:get(":status") == "200" and content:sub(1, 16) ~= "application/grpc" then
    headers:replace(":status", "{status}")
  end
end
"""


def _filter(name: str, config: Message) -> HttpFilter:
    return HttpFilter(name=name, typed_config=Any.pack(config))
