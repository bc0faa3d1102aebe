"""Envoy's routes: for each method its REST paths and its gRPC path; wrong verbs and unknown paths by name."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    RuntimeFractionalPercent,
)
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    HeaderMatcher,
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
)
from envoy_data_plane.envoy.extensions.filters.http.jwt_authn.v3 import PerRouteConfig
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.http.lua.v3 import LuaPerRoute
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType, TokenBucket
from envoy_data_plane.google.protobuf import Any

from gateway.contract import Binding, Contract, Method
from gateway.limits import DEADLINE_SENT_BEYOND, DEADLINE_WAITED_BEYOND, RATES
from gateway.refusals import header

JWT_FILTER = "envoy.filters.http.jwt_authn"
LUA_FILTER = "envoy.filters.http.lua"
RATE_FILTER = "envoy.filters.http.local_ratelimit"
TOKEN_REQUIREMENT = "token"  # noqa: S105 - the name of a requirement, no secret
# A body is JSON or absent; media types are compared without case.
JSON_OR_NONE = r"(?i)(application/json[ \t]*(;.*)?)?"

GRPC_TIMEOUT_OR_NONE = "([0-9]{1,8}[HMSmun])?"
# Ids and names need no escapes; an escaped byte could be one that is no text at all.
VARIABLE = "[^/%]+"
# A query parameter's name with an escape in it: the transcoder would take it for the name that it stands for.
ESCAPED_NAME = r"[^?]*\?(.*&)?[^=&]*%.*"


class Rest(NamedTuple):
    """One REST path of one method."""

    method: Method
    binding: Binding


def route_configuration(contract: Contract, *, default_tenant: str) -> RouteConfiguration:
    """All routes in the order in which Envoy tries them: gRPC paths, REST paths, and what nothing else took."""
    routes = [_grpc_route(method) for method in contract.external_methods]
    routes.append(
        _refusal("escaped name", RouteMatch(prefix="/", headers=[_not_grpc(), _whole_path(ESCAPED_NAME)]), 400)
    )
    routes += _rest_routes(contract.external_methods)
    routes.append(_refusal("unknown", RouteMatch(prefix="/"), 404))
    host = VirtualHost(
        name="berth",
        domains=["*"],
        routes=routes,
        request_headers_to_add=[_if_absent("berth-tenant", default_tenant)] if default_tenant else [],
        response_headers_to_remove=["berth-http-status"],
    )
    return RouteConfiguration(name="berth", virtual_hosts=[host])


def _rest_routes(methods: Sequence[Method]) -> Iterator[Route]:
    paths: dict[str, list[Rest]] = defaultdict(list)
    for method in methods:
        for binding in method.bindings:
            paths[binding.template].append(Rest(method, binding))
    # As in the transcoder, literal paths win over variables: users/me is not a user called me.
    for template in sorted(paths, key=lambda path: (path.count("{"), path)):
        yield from _path_routes(template, paths[template])


def _path_routes(template: str, choices: Sequence[Rest]) -> Iterator[Route]:
    yield from _named_twice(template, choices[0].method)
    for method, binding in choices:
        matchers = [_verb_is(binding.verb), _not_grpc()]
        json = binding.has_body and not method.takes_bytes
        if json:
            matchers.append(_content_type(JSON_OR_NONE))
        yield _rest_route(method, f"{method.service}.{method.name}", _path_match(template, matchers))
        if json:
            other = _path_match(template, [_verb_is(binding.verb), _not_grpc()])
            yield _refusal(f"{binding.verb} {template} other content", other, 415)
    allow = ", ".join(sorted(binding.verb for _, binding in choices))
    wrong_verb = _refusal(f"{template} other verb", _path_match(template, [_not_grpc()]), 405)
    wrong_verb.response_headers_to_add = [header("allow", allow)]
    yield wrong_verb


def _named_twice(template: str, method: Method) -> Iterator[Route]:
    # To the transcoder a query parameter outranks the path: who reads the path would see another object than we do.
    variables = re.findall(r"\{([a-z_]+)\}", template)
    fields = method.descriptor.input_type.fields_by_name
    names = "|".join(sorted({name for variable in variables for name in (variable, fields[variable].json_name)}))
    if names:
        twice = _whole_path(rf"[^?]*\?(.*&)?({names})([=&].*)?")
        yield _refusal(f"{template} named twice", _path_match(template, [_not_grpc(), twice]), 400)


def _grpc_route(method: Method) -> Route:
    # The content type is compared by prefix so that gRPC-Web, which a later filter turns into gRPC, matches too.
    grpc = HeaderMatcher(name="content-type", string_match=StringMatcher(prefix="application/grpc"))
    # A deadline that cannot be read would be the service's fault in the caller's eyes: such a call has no route.
    readable = HeaderMatcher(
        name="grpc-timeout",
        string_match=StringMatcher(safe_regex=RegexMatcher(regex=GRPC_TIMEOUT_OR_NONE)),
        treat_missing_header_as_empty=True,
    )
    route = _route(method, f"{method.path} grpc", RouteMatch(path=method.path, headers=[grpc, readable]))
    route.request_headers_to_add = [_if_absent("grpc-timeout", _grpc_timeout(method.policy.deadline))]
    return route


def _rest_route(method: Method, name: str, match: RouteMatch) -> Route:
    route = _route(method, name, match)
    # REST has no deadlines of its own: the contract's is set, whatever came in.
    route.request_headers_to_add = [header("grpc-timeout", _grpc_timeout(method.policy.deadline))]
    # It tells gRPC clients what to send, and REST clients nothing.
    route.response_headers_to_remove = ["grpc-accept-encoding"]
    return route


def _route(method: Method, name: str, match: RouteMatch) -> Route:
    policy = method.policy
    filters = {RATE_FILTER: Any.pack(_rate_limit(policy.rate_class))}
    if policy.access == "permission":
        filters[JWT_FILTER] = Any.pack(PerRouteConfig(requirement_name=TOKEN_REQUIREMENT))
    if policy.http_success != 200:
        filters[LUA_FILTER] = Any.pack(LuaPerRoute(name=str(policy.http_success)))
    return Route(
        name=name,
        match=match,
        route=RouteAction(cluster=method.owner, timeout=policy.deadline + DEADLINE_WAITED_BEYOND),
        typed_per_filter_config=filters,
    )


def _refusal(name: str, match: RouteMatch, status: int) -> Route:
    return Route(name=name, match=match, direct_response=DirectResponseAction(status=status))


def _path_match(template: str, headers: list[HeaderMatcher]) -> RouteMatch:
    if "{" not in template:
        return RouteMatch(path=template, headers=headers)
    literals = [re.escape(part) for part in re.split(r"\{[a-z_.]+\}", template)]
    return RouteMatch(safe_regex=RegexMatcher(regex=VARIABLE.join(literals)), headers=headers)


def _whole_path(regex: str) -> HeaderMatcher:
    """The path with its query."""
    return HeaderMatcher(name=":path", string_match=StringMatcher(safe_regex=RegexMatcher(regex=regex)))


def _verb_is(verb: str) -> HeaderMatcher:
    return HeaderMatcher(name=":method", string_match=StringMatcher(exact=verb))


def _not_grpc() -> HeaderMatcher:
    return HeaderMatcher(
        name="content-type",
        string_match=StringMatcher(prefix="application/grpc"),
        invert_match=True,
        treat_missing_header_as_empty=True,
    )


def _content_type(regex: str) -> HeaderMatcher:
    return HeaderMatcher(
        name="content-type",
        string_match=StringMatcher(safe_regex=RegexMatcher(regex=regex)),
        treat_missing_header_as_empty=True,
    )


def _if_absent(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.ADD_IF_ABSENT,
    )


def _grpc_timeout(deadline: timedelta) -> str:
    return f"{(deadline + DEADLINE_SENT_BEYOND) // timedelta(milliseconds=1)}m"


def _rate_limit(rate_class: str) -> LocalRateLimit:
    rate = RATES[rate_class]
    always = RuntimeFractionalPercent(
        default_value=FractionalPercent(numerator=100, denominator=FractionalPercentDenominatorType.HUNDRED)
    )
    return LocalRateLimit(
        stat_prefix=rate_class.lower(),
        token_bucket=TokenBucket(
            max_tokens=rate.burst, tokens_per_fill=rate.per_second, fill_interval=timedelta(seconds=1)
        ),
        filter_enabled=always,
        filter_enforced=always,
        rate_limited_as_resource_exhausted=True,
    )
