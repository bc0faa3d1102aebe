"""Roles against the contracts: every permission that a method asks for is granted to somebody, and no other."""

from __future__ import annotations

import importlib
import pkgutil

import berth
from berth.options.v1 import policy_pb2
from google.protobuf.descriptor import ServiceDescriptor

from services.auth.domain.roles import PERMISSIONS, Role

# Asked by handlers, not by a method's policy: they widen what a method shows or does.
BEYOND_POLICIES = {"bookings.read_all"}


def _asked() -> set[str]:
    asked: set[str] = set()
    for found in pkgutil.walk_packages(berth.__path__, "berth."):
        if not found.name.endswith("_service_pb2"):
            continue
        services = importlib.import_module(found.name).DESCRIPTOR.services_by_name.values()
        for service in services:
            assert isinstance(service, ServiceDescriptor)
            for method in service.methods:
                permission = method.GetOptions().Extensions[policy_pb2.policy].permission
                asked |= {permission} if permission else set()
    return asked


def test_every_permission_is_known_and_granted() -> None:
    asked = _asked()
    assert len(asked) > 10, "the contracts were found"
    granted = frozenset[str]().union(*PERMISSIONS.values())
    assert granted == asked | BEYOND_POLICIES


def test_every_role_grants_something() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert all(PERMISSIONS.values())


def test_only_the_platform_manages_tenants() -> None:
    assert [role for role in Role if "tenants.manage" in PERMISSIONS[role]] == [Role.PLATFORM_ADMIN]


def test_only_administrators_see_what_is_not_theirs() -> None:
    for permission in ("bookings.read_all", "deliveries.read"):
        holders = {role for role in Role if permission in PERMISSIONS[role]}
        assert holders == {Role.SUPPORT, Role.ADMIN, Role.PLATFORM_ADMIN}
