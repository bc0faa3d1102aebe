"""The one reader of infra/topology.toml: names, ports, databases, topics and who calls whom, as frozen types."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "infra" / "topology.toml"


class TopologyError(ValueError):
    """The topology file says something that cannot be; the message names the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Envoy: its two ports and the services it may reach."""

    port: int
    admin_port: int
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """First choices of port for what is not ours, or stands in for it."""

    postgres_port: int
    redis_port: int
    kafka_port: int
    kafka_controller_port: int
    stripe_port: int
    smtp_port: int
    mail_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service: its first ports, what it owns, what it calls and hears; no topic where it publishes nothing.

    What is in the background gives way to what somebody waits for where they share processors.
    """

    name: str
    port: int
    metrics_port: int
    workers: int
    background: bool
    database: str
    topic: str | None
    calls: tuple[str, ...]
    consumes: tuple[str, ...]
    secrets: tuple[str, ...]
    env: Mapping[str, str]

    @property
    def package(self) -> str:
        """The Python package that `python -m` runs."""
        return f"services.{self.name}"

    @property
    def owner_role(self) -> str:
        """The role that owns the database and migrates it."""
        return f"{self.name}_owner"

    @property
    def app_role(self) -> str:
        """The role of requests: row security applies."""
        return f"{self.name}_app"

    @property
    def worker_role(self) -> str:
        """The role of workers and consumers: sees all tenants."""
        return f"{self.name}_worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The whole mesh as the file describes it; services in the file's order."""

    gateway: Gateway
    parts: Parts
    services: Mapping[str, Service]

    def callers_of(self, name: str) -> tuple[str, ...]:
        """Who may open a connection to the service: other services, and `gateway`."""
        callers = [service.name for service in self.services.values() if name in service.calls]
        return (*callers, *(("gateway",) if name in self.gateway.calls else ()))

    def topics(self) -> tuple[str, ...]:
        """Every topic with events: at most one per service."""
        return tuple(service.topic for service in self.services.values() if service.topic is not None)

    def dead_letter_topics(self) -> tuple[str, ...]:
        """Where each consumer puts what it cannot apply: `<topic>.<consumer>.dlq`."""
        return tuple(
            dead_letter_topic(topic, service.name) for service in self.services.values() for topic in service.consumes
        )


def dead_letter_topic(topic: str, consumer: str) -> str:
    """The name of a consumer's dead-letter topic for one topic it hears."""
    return f"{topic}.{consumer}.dlq"


def read(path: Path = PATH) -> Topology:
    """Reads and checks the file; a mistake is a TopologyError that names its place."""
    return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> Topology:
    """Reads a topology from TOML text."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TopologyError(f"topology: not TOML: {error}") from error
    root = _Table("topology", document)
    gateway, parts, services = root.table("gateway"), root.table("parts"), root.table("services")
    topology = Topology(
        gateway=Gateway(port=gateway.port("port"), admin_port=gateway.port("admin_port"), calls=gateway.names("calls")),
        parts=Parts(
            postgres_port=parts.table("postgres").port("port"),
            redis_port=parts.table("redis").port("port"),
            kafka_port=parts.table("kafka").port("port"),
            kafka_controller_port=parts.table("kafka").port("controller_port"),
            stripe_port=parts.table("stripe").port("port"),
            smtp_port=parts.table("mail").port("smtp_port"),
            mail_port=parts.table("mail").port("port"),
        ),
        services=MappingProxyType({name: _service(name, services.table(name)) for name in services.values}),
    )
    _check(topology)
    return topology


@dataclass(frozen=True, slots=True)
class _Table:
    """A TOML table that knows its place in the file, so that a refusal can name it."""

    place: str
    values: Mapping[str, Any]

    def table(self, key: str) -> _Table:
        value = self._value(key)
        if not isinstance(value, dict):
            raise TopologyError(f"{self.place}.{key}: a table is needed")
        return _Table(f"{self.place}.{key}", value)

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise TopologyError(f"{self.place}.{key}: a text is needed")
        return value

    def number(self, key: str, least: int, most: int) -> int:
        value = self._value(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise TopologyError(f"{self.place}.{key}: a number from {least} to {most} is needed")
        return value

    def port(self, key: str) -> int:
        return self.number(key, 1, 65535)

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise TopologyError(f"{self.place}.{key}: true or false is needed")
        return value

    def names(self, key: str) -> tuple[str, ...]:
        value = self._value(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise TopologyError(f"{self.place}.{key}: a list of texts is needed")
        return tuple(value)

    def texts(self, key: str) -> Mapping[str, str]:
        value = self.values.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise TopologyError(f"{self.place}.{key}: a table of texts is needed")
        return MappingProxyType(value)

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise TopologyError(f"{self.place}.{key}: missing")
        return self.values[key]


def _service(name: str, table: _Table) -> Service:
    return Service(
        name=name,
        port=table.port("port"),
        metrics_port=table.port("metrics_port"),
        workers=table.number("workers", 1, 9),
        background=table.flag("background"),
        database=table.text("database"),
        topic=table.text("topic") if "topic" in table.values else None,
        calls=table.names("calls"),
        consumes=table.names("consumes"),
        secrets=table.names("secrets"),
        env=table.texts("env"),
    )


def _check(topology: Topology) -> None:
    for place, calls in [("gateway", topology.gateway.calls), *((s.name, s.calls) for s in topology.services.values())]:
        for called in calls:
            if called not in topology.services:
                raise TopologyError(f"topology: {place} calls {called}, which is no service")
    topics = set(topology.topics())
    for service in topology.services.values():
        for topic in service.consumes:
            if topic not in topics:
                raise TopologyError(f"topology.services.{service.name}.consumes: no service publishes {topic}")
    _check_single_owners("port", _ports(topology))
    _check_single_owners("database", [(service.name, service.database) for service in topology.services.values()])


def _check_single_owners(kind: str, claims: Iterable[tuple[str, int | str]]) -> None:
    owners: dict[int | str, str] = {}
    for owner, thing in claims:
        if thing in owners:
            raise TopologyError(f"topology: {kind} {thing} is given to {owners[thing]} and to {owner}")
        owners[thing] = owner


def _ports(topology: Topology) -> list[tuple[str, int]]:
    gateway, parts = topology.gateway, topology.parts
    ports = [("gateway", gateway.port), ("gateway.admin", gateway.admin_port)]
    ports += [(field.removesuffix("_port"), getattr(parts, field)) for field in Parts.__slots__]
    for service in topology.services.values():
        for worker in range(service.workers):
            ports.append((service.name, service.port + worker))
            ports.append((f"{service.name}.metrics", service.metrics_port + worker))
    return ports
