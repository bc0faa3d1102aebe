"""Policies come from contracts, all of them, and a method without one is named."""

from __future__ import annotations

import pytest

from infra.local.topology import read
from services.chassis.rpc.policy import KeyUse, PolicyMissing, policy_of, reasons_of, require_policies
from services.chassis.rpc.service_config import methods_of

SERVICES = tuple(read().services)
METHODS = [method for service in SERVICES for method in methods_of(service)]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_every_contract_has_a_sound_policy(method: str) -> None:
    policy = policy_of(method)
    assert policy.deadline is not None
    assert 0.1 < policy.deadline <= 20  # a server that stops waits this long
    if policy.access == "internal":
        assert policy.callers, "an internal method that nobody may call"
        assert policy.service_principal
    if policy.access == "permission":
        assert policy.permission
    assert not policy.built_in


def test_a_policy_says_all_that_its_contract_says() -> None:
    policy = policy_of("/berth.booking.v1.BookingService/AttemptBookingPayment")
    assert (policy.access, policy.permission, policy.deadline) == ("permission", "bookings.create", 15.0)
    assert policy.key_use is KeyUse.REQUIRED
    assert not policy.retry_is_safe
    assert policy_of("/berth.auth.v1.TenantService/CreateTenant").http_success == 201
    keys = policy_of("/berth.auth.v1.KeyService/GetJwks")
    assert (keys.access, keys.no_tenant, keys.service_principal, keys.retry_is_safe) == ("public", True, True, True)
    assert "booking" in keys.callers


def test_those_without_are_all_named() -> None:
    with pytest.raises(KeyError):
        policy_of("/berth.auth.v1.KeyService/Nothing")
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(name="bare.proto", package="berth.bare.v1", syntax="proto3")
    file.message_type.add(name="Nothing")
    service = file.service.add(name="BareService")
    for name in ("One", "Two"):
        method = service.method.add(name=name)
        method.input_type = method.output_type = ".berth.bare.v1.Nothing"
    descriptor_pool.Default().Add(file)
    names = ["/berth.bare.v1.BareService/Two", METHODS[0], "/berth.bare.v1.BareService/One"]
    with pytest.raises(PolicyMissing) as caught:
        require_policies(names)
    assert names[0] in str(caught.value)
    assert names[2] in str(caught.value)
    assert names[1] not in str(caught.value)


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_own_reasons_do_not_hide_the_shared_ones(service: str) -> None:
    shared = reasons_of("berth.type.v1")
    own = reasons_of(f"berth.{service}.v1")
    assert {name: own[name] for name in shared} == shared


def test_a_package_without_reasons_has_the_shared_ones() -> None:
    assert reasons_of("grpc.health.v1") == reasons_of("berth.type.v1")
