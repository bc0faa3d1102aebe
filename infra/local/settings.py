"""What the environment asks of the local stack: outside parts instead of own ones, the instance, and durability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from infra.local.topology import Topology

_PREFIX = "BERTH_LOCAL_"
_PARTS = ("postgres", "redis", "kafka", "stripe", "mail")
MOCK = "mock"


class SettingsError(ValueError):
    """A variable says something that cannot be; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The choices of one `make up`.

    `outside` maps a part to the address that serves instead of our own process: BERTH_LOCAL_POSTGRES=postgresql://…
    (a superuser's), BERTH_LOCAL_REDIS=redis://…, BERTH_LOCAL_KAFKA=host:port (or `mock`), BERTH_LOCAL_STRIPE=http://…,
    BERTH_LOCAL_MAIL=host:port (SMTP), and for a service run by hand BERTH_LOCAL_BOOKING=host:port.
    """

    outside: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    durable: bool = True
    free_ports: bool = False

    @property
    def mock_kafka(self) -> bool:
        """Whether librdkafka's mock cluster was asked for by name."""
        return self.outside.get("kafka") == MOCK


def read(environment: Mapping[str, str], topology: Topology) -> Settings:
    """Reads BERTH_LOCAL_*; an unknown or malformed one is a SettingsError with one sentence."""
    outside: dict[str, str] = {}
    flags = {"DURABLE": True, "FREE_PORTS": False}
    for name, value in environment.items():
        if not name.startswith(_PREFIX) or not value:
            continue
        rest = name.removeprefix(_PREFIX)
        if rest in flags:
            flags[rest] = _flag(name, value)
        elif rest.lower() in (*_PARTS, *topology.services):
            outside[rest.lower()] = _address(name, rest.lower(), value)
        else:
            raise SettingsError(f"{name} names no part of the stack: {', '.join((*_PARTS, *topology.services))}.")
    return Settings(outside=outside, durable=flags["DURABLE"], free_ports=flags["FREE_PORTS"])


def _flag(name: str, value: str) -> bool:
    if value not in {"0", "1"}:
        raise SettingsError(f"{name} is {value!r}; it takes 0 or 1.")
    return value == "1"


def _address(name: str, part: str, value: str) -> str:
    schemes = {"postgres": ("postgresql", "postgres"), "redis": ("redis", "rediss"), "stripe": ("http", "https")}
    if part in schemes:
        parts = urlsplit(value)
        if parts.scheme not in schemes[part] or not parts.hostname:
            raise SettingsError(f"{name} takes a URL such as {schemes[part][0]}://host:port.")
        return value
    if part == "kafka" and value == MOCK:
        return value
    for address in value.split(","):
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise SettingsError(f"{name} takes host:port.")
    return value
