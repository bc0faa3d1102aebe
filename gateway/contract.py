"""What the descriptor set says, as typed facts: the methods, where REST reaches them, and their policies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

PACKAGE = "berth."
DESCRIPTOR_SET = Path(__file__).resolve().parents[1] / "generated" / "envoy" / "berth.binpb"
HTTP_BODY = "google.api.HttpBody"
VERBS = ("get", "put", "post", "delete", "patch")


class ContractError(Exception):
    """The contracts say something that cannot be served; the message names the method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A method's policy option."""

    access: str
    permission: str
    callers: tuple[str, ...]
    service_principal: bool
    deadline: timedelta
    rate_class: str
    key_use: str
    http_success: int
    no_tenant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One way by which REST reaches a method."""

    verb: str
    template: str
    has_body: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of a contract."""

    name: str
    service: str
    owner: str
    policy: Policy
    bindings: tuple[Binding, ...]
    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """The path by which gRPC calls it."""
        return f"/{self.service}/{self.name}"

    @property
    def external(self) -> bool:
        """Whether it may be reached through the gateway at all."""
        return self.policy.access != "internal"

    @property
    def takes_bytes(self) -> bool:
        """Whether its REST body is passed on byte for byte instead of being read as JSON."""
        return bool(self.descriptor.input_type.full_name == HTTP_BODY)


class Contract:
    """A descriptor set in a pool of its own, so that reading it needs no generated stub."""

    def __init__(self, files: FileDescriptorSet) -> None:
        self.files = files
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)

    @classmethod
    def read(cls, path: Path = DESCRIPTOR_SET) -> Contract:
        """The contract in a file made by `make gen`."""
        return cls(FileDescriptorSet.FromString(path.read_bytes()))

    @cached_property
    def methods(self) -> tuple[Method, ...]:
        """Every method of our own, in the contracts' order; a ContractError where one cannot be served."""
        return tuple(self._methods())

    @property
    def external_methods(self) -> tuple[Method, ...]:
        """The methods that the gateway serves."""
        return tuple(method for method in self.methods if method.external)

    def option(self, options: Message, extension: str) -> Any | None:
        """The value of a custom option, or None; options are read in this pool, which knows our extensions."""
        field: FieldDescriptor = self.pool.FindExtensionByName(extension)
        known = self.message_class(options.DESCRIPTOR.full_name).FromString(options.SerializeToString())
        return known.Extensions[field] if known.HasExtension(field) else None

    def values(self, options: Message, extension: str) -> list[Any]:
        """The values of a repeated custom option."""
        field: FieldDescriptor = self.pool.FindExtensionByName(extension)
        known = self.message_class(options.DESCRIPTOR.full_name).FromString(options.SerializeToString())
        return list(known.Extensions[field])

    def message_class(self, full_name: str) -> Any:
        """The class of a message of this pool."""
        descriptor: Descriptor = self.pool.FindMessageTypeByName(full_name)
        return message_factory.GetMessageClass(descriptor)

    def _methods(self) -> Iterator[Method]:
        for file in self.files.file:
            if not file.package.startswith(PACKAGE):
                continue
            for service in file.service:
                full_name = f"{file.package}.{service.name}"
                for method in service.method:
                    yield self._method(full_name, method)

    def _method(self, service: str, method: descriptor_pb2.MethodDescriptorProto) -> Method:
        raw = self.option(method.options, "berth.options.v1.policy")
        if raw is None:
            raise ContractError(f"{service}.{method.name} has no (berth.options.v1.policy)")
        policy = _policy(f"{service}.{method.name}", raw)
        rule = self.option(method.options, "google.api.http")
        bindings = tuple(_bindings(f"{service}.{method.name}", rule)) if rule is not None else ()
        if bindings and policy.access == "internal":
            raise ContractError(f"{service}.{method.name} is internal, yet has a REST path")
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(method.name)
        return Method(
            name=method.name,
            service=service,
            owner=service.removeprefix(PACKAGE).split(".")[0],
            policy=policy,
            bindings=bindings,
            descriptor=descriptor,
        )


def _policy(method: str, raw: Any) -> Policy:
    access = raw.WhichOneof("access")
    if access is None:
        raise ContractError(f"{method}: the policy names no access")
    if raw.deadline.ToTimedelta() <= timedelta(0):
        raise ContractError(f"{method}: the policy has no deadline")
    if raw.rate_class == 0:
        raise ContractError(f"{method}: the policy names no rate class")
    return Policy(
        access=access,
        permission=raw.permission,
        callers=tuple(raw.callers),
        service_principal=raw.service_principal,
        deadline=raw.deadline.ToTimedelta(),
        rate_class=raw.RateClass.Name(raw.rate_class),
        key_use=raw.KeyUse.Name(raw.idempotency_key),
        http_success=raw.http_success or 200,
        no_tenant=raw.no_tenant,
    )


def _bindings(method: str, rule: Any) -> Iterator[Binding]:
    for http in (rule, *rule.additional_bindings):
        verb = http.WhichOneof("pattern")
        if verb not in VERBS:
            raise ContractError(f"{method}: REST verbs are {', '.join(VERBS)}")
        template = getattr(http, verb)
        if "=" in template or "*" in template or ":" in template:
            raise ContractError(f"{method}: {template} is more than plain names and {{variables}}")
        if http.body not in ("", "*"):
            raise ContractError(f"{method}: a body is the whole request (`*`) or none, not {http.body}")
        yield Binding(verb=verb.upper(), template=template, has_body=bool(http.body))
