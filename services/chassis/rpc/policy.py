"""The policy of each method, read from its contract; nothing here is written twice."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Literal

from berth.options.v1 import policy_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import Default

_IDEMPOTENCY = descriptor_pb2.MethodOptions.IdempotencyLevel
_SAFE = frozenset({_IDEMPOTENCY.Value("NO_SIDE_EFFECTS"), _IDEMPOTENCY.Value("IDEMPOTENT")})


class PolicyMissing(Exception):
    """Methods without a policy: their service must not start."""


class KeyUse(Enum):
    """What a method does with an idempotency key."""

    NONE = 0
    ACCEPTED = 1
    REQUIRED = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """What the contract says about a method."""

    method: str  # `/berth.auth.v1.KeyService/GetJwks`
    access: Literal["public", "permission", "internal"]
    deadline: float | None  # seconds; None only for the built-in streams
    permission: str = ""
    callers: frozenset[str] = frozenset()
    service_principal: bool = False  # a service from `callers` suffices, without an end user's token
    key_use: KeyUse = KeyUse.NONE
    http_success: int = 200
    no_tenant: bool = False
    retry_is_safe: bool = False
    rate_class: str = ""
    built_in: bool = False  # health, reflection and journeys: outside of limits, tokens and tenants

    @property
    def travels(self) -> bool:
        """Whether its calls may travel with others: they are between services, and may be sent twice."""
        return self.access == "internal" and self.retry_is_safe and not self.built_in


# Health is for whoever balances load, so for every peer with one of our certificates; reflection is for people.
_HEALTH = "/grpc.health.v1.Health/"
_REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/"
TOGETHER = "/berth.type.v1.Together/Travel"  # how calls travel; see together.py
_BUILT_IN = {
    policy.method: policy
    for policy in (
        Policy(f"{_HEALTH}Check", "public", 2.0, built_in=True, retry_is_safe=True),
        Policy(f"{_HEALTH}List", "public", 2.0, built_in=True, retry_is_safe=True),
        Policy(f"{_HEALTH}Watch", "public", None, built_in=True),
        # Each call that travels passes the interceptors by itself, with the caller list of its own method.
        Policy(TOGETHER, "public", None, built_in=True),
        Policy(f"{_REFLECTION}ServerReflectionInfo", "internal", None, callers=frozenset({"operator"}), built_in=True),
    )
}


@cache
def policy_of(full_method: str) -> Policy:
    """The policy of `/package.Service/Method`; raises PolicyMissing where its contract says none."""
    built_in = _BUILT_IN.get(full_method)
    if built_in is not None:
        return built_in
    service_name, _, name = full_method.removeprefix("/").rpartition("/")
    service: ServiceDescriptor = Default().FindServiceByName(service_name)
    method: MethodDescriptor = service.methods_by_name[name]
    options = method.GetOptions()
    said = options.Extensions[policy_pb2.policy]
    access = said.WhichOneof("access")
    deadline = said.deadline.ToTimedelta().total_seconds()
    if access is None or deadline <= 0 or not said.rate_class:
        raise PolicyMissing(f"{full_method} has no policy: its contract must say access, deadline and rate class.")
    return Policy(
        method=full_method,
        access=access,
        deadline=deadline,
        permission=said.permission,
        callers=frozenset(said.callers),
        service_principal=said.service_principal or access == "internal",
        key_use=KeyUse(said.idempotency_key),
        http_success=said.http_success or 200,
        no_tenant=said.no_tenant,
        retry_is_safe=options.idempotency_level in _SAFE,
        rate_class=policy_pb2.MethodPolicy.RateClass.Name(said.rate_class),
    )


def require_policies(full_methods: list[str]) -> dict[str, Policy]:
    """The policy of each method; raises PolicyMissing that names all those without."""
    policies: dict[str, Policy] = {}
    missing: list[str] = []
    for full_method in full_methods:
        try:
            policies[full_method] = policy_of(full_method)
        except PolicyMissing:
            missing.append(full_method)
    if missing:
        raise PolicyMissing(f"Methods without a policy in their contract: {', '.join(sorted(missing))}.")
    return policies


@dataclass(frozen=True, slots=True)
class ReasonPolicy:
    """What an error reason means on the wire."""

    code: str
    metadata: frozenset[str]


@cache
def reasons_of(package: str) -> dict[str, ReasonPolicy]:
    """The error reasons of a package such as `berth.booking.v1`, over those that every service shares."""
    reasons: dict[str, ReasonPolicy] = {}
    for name in ("berth.type.v1", package):
        if not _has_reasons(name):
            continue
        enum = Default().FindEnumTypeByName(f"{name}.ErrorReason")
        for value in enum.values:
            said = value.GetOptions().Extensions[policy_pb2.reason]
            if said.code:
                reasons[value.name] = ReasonPolicy(said.code, frozenset(said.metadata))
    return reasons


@cache
def _has_reasons(package: str) -> bool:
    """Whether the package documents reasons; importing its module is what makes the descriptors known."""
    try:
        parent = importlib.import_module(package)
    except ModuleNotFoundError:
        return False
    if not any(found.name == "error_reason_pb2" for found in pkgutil.iter_modules(parent.__path__)):
        return False
    importlib.import_module(f"{package}.error_reason_pb2")
    return True
