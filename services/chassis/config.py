"""Typed configuration: frozen, read from the environment once, and refused with a sentence when wrong."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints


class ConfigError(SystemExit):
    """The environment does not describe a service that could start. Uncaught, it ends the process with its sentence."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `127.0.0.1:7110`."""
        host, _, port = text.rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
            raise ValueError("it is not HOST:PORT")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Peers:
    """Where the services that this one calls are found."""

    endpoints: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Peers:
        """Read `auth=127.0.0.1:7110,127.0.0.1:7111;inventory=127.0.0.1:7120`."""
        endpoints: dict[str, tuple[Address, ...]] = {}
        for part in filter(None, text.split(";")):
            name, found, addresses = part.partition("=")
            if not found or not name or name in endpoints:
                raise ValueError("it is not NAME=HOST:PORT,HOST:PORT;NAME=…")
            endpoints[name] = tuple(Address.parse(address) for address in addresses.split(","))
        return cls(endpoints)

    def __str__(self) -> str:
        return ";".join(f"{name}={','.join(map(str, found))}" for name, found in self.endpoints.items())


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What every service is told; a service subclasses it to be told more."""

    environment: Literal["local", "production"] = field(default="production", metadata={"env": "BERTH_ENVIRONMENT"})
    listen: Address = field(metadata={"env": "BERTH_LISTEN"})
    metrics_listen: Address | None = field(default=None, metadata={"env": "BERTH_METRICS_LISTEN"})
    database_url: str = field(metadata={"env": "BERTH_DATABASE_URL", "secret": True})
    worker_database_url: str = field(metadata={"env": "BERTH_WORKER_DATABASE_URL", "secret": True})
    kafka: str = field(default="", metadata={"env": "BERTH_KAFKA"})
    redis_url: str = field(default="", metadata={"env": "BERTH_REDIS_URL", "secret": True})
    tls_ca: Path = field(metadata={"env": "BERTH_TLS_CA"})
    tls_cert: Path = field(metadata={"env": "BERTH_TLS_CERT"})
    tls_key: Path = field(metadata={"env": "BERTH_TLS_KEY"})
    peers: Peers = field(default=Peers(), metadata={"env": "BERTH_PEERS"})
    jwks_file: Path | None = field(default=None, metadata={"env": "BERTH_JWKS_FILE"})
    otlp_endpoint: str = field(default="", metadata={"env": "BERTH_OTLP_ENDPOINT"})
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = field(default="INFO", metadata={"env": "BERTH_LOG_LEVEL"})
    drain_seconds: float = field(default=2.5, metadata={"env": "BERTH_DRAIN_SECONDS"})  # until balancers have noticed
    max_concurrent_calls: int = field(default=512, metadata={"env": "BERTH_MAX_CONCURRENT_CALLS"})
    clock_offset_seconds: int = field(default=0, metadata={"env": "BERTH_CLOCK_OFFSET_SECONDS"})

    def __init_subclass__(cls) -> None:
        # Before the subclass's own @dataclass would write one that shows secrets.
        cls.__repr__ = ServiceConfig.__repr__  # type: ignore[method-assign]  # see above

    def __repr__(self) -> str:
        shown = (
            f"{found.name}={'…' if found.metadata.get('secret') else getattr(self, found.name)!r}"
            for found in dataclasses.fields(self)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


C = TypeVar("C", bound=ServiceConfig)


def read(config: type[C], environment: Mapping[str, str] = os.environ) -> C:
    """Read a configuration; raises ConfigError, which names the first variable that is missing or wrong."""
    hints = get_type_hints(config)
    values: dict[str, Any] = {}
    for found in dataclasses.fields(config):
        name = found.metadata.get("env")
        if name is None:
            raise TypeError(f"{config.__name__}.{found.name} does not say which variable it is read from.")
        text = environment.get(name, "")
        if text:
            secret = bool(found.metadata.get("secret"))
            values[found.name] = _parse(name, hints[found.name], text, secret=secret)
        elif found.default is dataclasses.MISSING and found.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{name} is not set.")
    return config(**values)


def owner_database_url(environment: Mapping[str, str] = os.environ) -> str:
    """Where `migrate` connects as the owner of the tables; a serving process never has this one."""
    url = environment.get("BERTH_OWNER_DATABASE_URL", "")
    if not url:
        raise ConfigError("BERTH_OWNER_DATABASE_URL is not set.")
    return url


def _parse(name: str, kind: Any, text: str, *, secret: bool) -> Any:
    if isinstance(kind, UnionType):  # `X | None`: the absent case is the default
        (kind,) = (option for option in get_args(kind) if option is not type(None))
    shown = "" if secret else f" ({text!r})"
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ConfigError(f"{name} must be one of {', '.join(get_args(kind))}{shown}.")
        return text
    try:
        return _PARSERS[kind](text)
    except ValueError as error:
        raise ConfigError(f"{name} cannot be used: {error}{shown}.") from None


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("it is neither true nor false")
    return text == "true"


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError("it is not a whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise ValueError("it is not a number of seconds")
    return float(text)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("it is not base64") from None


def _path(text: str) -> Path:
    path = Path(text)
    if not path.parent.is_dir():
        raise ValueError("its folder does not exist")
    return path


_PARSERS: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    int: _number,
    float: _seconds,
    bool: _flag,
    bytes: _bytes,
    Path: _path,
    Address: Address.parse,
    Peers: Peers.parse,
}
