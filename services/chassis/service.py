"""What every service's `__main__` runs: serve, migrate or seed, from one description of the service."""

from __future__ import annotations

import argparse
import asyncio
import os
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from services.chassis import config as configuration
from services.chassis.clock import Clock
from services.chassis.config import ServiceConfig

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy import MetaData

    from services.chassis.db import Database
    from services.chassis.outbox.relay import Relay
    from services.chassis.rpc.channels import Channels
    from services.chassis.rpc.tenants import TenantDirectory
    from services.chassis.tokens.keys import KeySource

C = TypeVar("C", bound=ServiceConfig)

Background = Callable[[asyncio.Event], Awaitable[None]]  # runs until the event is set
Registration = tuple[Callable[[Any, Any], None], object]  # (add_XServicer_to_server, servicer)


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What the chassis gives to a service that is being built."""

    clock: Clock
    database: Database  # row security applies
    worker_database: Database  # for workers, which see all tenants
    channels: Channels
    relay: Relay | None  # None where the service has no outbox
    redis: Callable[[], Redis]  # connects when first asked for; nothing that must not be lost lives there
    drain: asyncio.Event  # set when the process stops


@dataclass(frozen=True, kw_only=True)
class Built:
    """A service's parts, ready to run."""

    servicers: Sequence[Registration]
    background: Sequence[Background] = ()
    # Only the service that owns keys and tenants has its own of these; the others ask it.
    keys: KeySource | None = None
    tenants: TenantDirectory | None = None


@dataclass(frozen=True, kw_only=True)
class ServiceSpec(Generic[C]):
    """A service, as its composition root describes it."""

    name: str
    config: type[C]
    build: Callable[[C, Foundation], Awaitable[Built]]
    metadata: MetaData
    seed: Callable[[C, Foundation, Mapping[str, Any]], Awaitable[None]] | None = None
