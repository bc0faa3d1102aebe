"""The matrix from inside: every method × every certificate, straight at its service, with and without a token."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping

import grpc
import pytest

from gateway.contract import Contract, Method
from infra.local import pki
from infra.local.topology import read
from tests.journey.authorization.ownership import May, row_of
from tests.journey.authorization.test_outside import INTERNAL, METHODS, by_path
from tests.journey.world.calls import SECONDS, Calls, Reply
from tests.journey.world.things import Thing
from tests.journey.world.world import DEMO, World

SERVICES = tuple(read().services)
EDGE = (pki.GATEWAY, pki.OPERATOR)
IN_DEMO = {"berth-tenant": DEMO}  # as services name it; the edge names it by its slug
# What is said before anything was looked at; every other answer means that the call was let through.
REFUSED = {"CALLER_NOT_ALLOWED", "PERMISSION_DENIED", "TOKEN_INVALID", "TOKEN_MISSING", "TENANT_UNKNOWN"}
WITH_OBJECT = [method for method in INTERNAL if row_of(method.path).kind]


@pytest.fixture(scope="module", autouse=True)
def measured() -> Iterator[None]:
    """Tells how much was checked."""
    began = time.monotonic()
    yield
    answers = len(METHODS) * (2 * len(SERVICES) + 2 * len(EDGE))
    print(  # noqa: T201 - a measure worth seeing
        f"\nauthorization by certificate: {len(METHODS)} methods × {len(SERVICES) + len(EDGE)} certificates,"
        f" {answers} answers checked in {time.monotonic() - began:.1f} s"
    )


def ask(calls: Calls, method: Method, certificate: str, metadata: Mapping[str, str]) -> Reply:
    """An empty request, which changes nothing: validation, which comes after every decision on who may, refuses it."""
    return calls.by_bytes(method, b"", metadata, channel=calls.straight(method.owner, certificate))


@pytest.mark.parametrize("method", METHODS, ids=by_path)
def test_a_service_calls_only_where_it_is_named(method: Method, calls: Calls, world: World) -> None:
    token = {"authorization": f"Bearer {world['platform'].token}"}
    for service in SERVICES:
        named = service in method.policy.callers
        for metadata in (IN_DEMO, token):
            reply = ask(calls, method, service, metadata)
            if named:
                assert reply.reason not in REFUSED, (service, reply)
            else:
                assert reply.reason == "CALLER_NOT_ALLOWED", (service, reply)


@pytest.mark.parametrize("method", METHODS, ids=by_path)
def test_the_edge_gets_what_the_contract_opens_and_no_more(method: Method, calls: Calls, world: World) -> None:
    policy = method.policy
    speaking_for = {"berth-tenant": "demo", "berth-on-behalf-of": world["customer"].user_id}
    for certificate in EDGE:
        nobody = ask(calls, method, certificate, speaking_for)
        somebody = ask(calls, method, certificate, world["platform"].headers)
        if policy.access == "internal":
            assert (nobody.reason, somebody.reason) == ("CALLER_NOT_ALLOWED", "CALLER_NOT_ALLOWED")
        elif policy.access == "permission":
            # Whoever the call claims to speak for: outside, only a token says who somebody is.
            assert nobody.reason == "TOKEN_MISSING"
            assert somebody.reason not in REFUSED
        else:
            assert nobody.reason not in REFUSED
            assert somebody.reason not in REFUSED


@pytest.mark.parametrize("method", WITH_OBJECT, ids=by_path)
def test_a_service_reaches_its_tenants_objects_alone(method: Method, calls: Calls, world: World) -> None:
    row = row_of(method.path)
    for caller in method.policy.callers:
        channel = calls.straight(method.owner, caller)

        def about(thing: Thing, channel: grpc.Channel = channel) -> Reply:
            return calls.by_grpc(method, row.fields(thing), IN_DEMO, channel=channel)

        *there, nowhere = world.of(row.kind)
        of_missing = about(nowhere)
        assert of_missing.reason == row.hidden
        for thing in there:
            if thing.tenant_id != DEMO:
                assert about(thing) == of_missing, thing
            elif May.TENANT in row.may:
                assert about(thing).reason in row.passes, thing
        # A service that names no tenant has forgotten to: a fault of ours, which must show nothing all the same.
        assert not calls.by_grpc(method, row.fields(there[0]), {}, channel=channel).ok


@pytest.mark.parametrize("service", SERVICES)
def test_nobody_calls_without_a_certificate_of_ours(
    service: str, calls: Calls, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address, _, options = calls.mesh.channel_arguments(service)
    ours = pki.pair(calls.mesh.tls, pki.CA).certificate.read_bytes()
    strangers = tmp_path_factory.mktemp("strangers")
    pki.ensure(strangers, [pki.GATEWAY, service], dt.datetime.now(dt.UTC))
    theirs = pki.pair(strangers, pki.GATEWAY)
    method = next(method for method in Contract.read().methods if method.owner == service)
    for channel in (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, grpc.ssl_channel_credentials(ours), options),
        grpc.secure_channel(
            address,
            grpc.ssl_channel_credentials(ours, theirs.key.read_bytes(), theirs.certificate.read_bytes()),
            options,
        ),
    ):
        with channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method.path)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_every_internal_method_names_its_callers() -> None:
    assert [method.path for method in INTERNAL if not method.policy.callers] == []
