"""What every service's `__main__` runs: serve, migrate or seed, from one description of the service."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import uvloop

from services.chassis import config as configuration
from services.chassis.clock import Clock, SystemClock
from services.chassis.config import ServiceConfig
from services.chassis.telemetry import logs
from services.chassis.telemetry.metrics import show

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy import MetaData

    from services.chassis.db import Database
    from services.chassis.outbox.relay import Relay
    from services.chassis.rpc.channels import Channels
    from services.chassis.rpc.tenants import TenantDirectory
    from services.chassis.tokens.keys import KeySource

BACKGROUND_STOP_SECONDS = 10.0  # how long background work may take to end
FIRST_PAUSE_SECONDS = 0.5  # before failed background work is begun anew
MAX_PAUSE_SECONDS = 30.0
# Of the cyclic collector: calls leave few cycles behind, and looking for them at every 700 objects cost a service 3 %.
COLLECT_AFTER = (10_000, 20, 20)
# Of gRPC's two engines for connections, the newer reads on threads of its own and the older on the one that waits for
# answers anyway: a sixth less for a call.
GRPC_EXPERIMENTS = "-event_engine_client"

C = TypeVar("C", bound=ServiceConfig)

Background = Callable[[asyncio.Event], Awaitable[None]]  # runs until the event is set
Registration = tuple[Callable[[Any, Any], None], object]  # (add_XServicer_to_server, servicer)

logger = logging.getLogger(__name__)


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
    closing: AsyncExitStack  # takes what else is to be closed at the end


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


def run(spec: ServiceSpec[C]) -> None:
    """Do what the command line says: `serve`, `migrate`, or `seed --file FILE`."""
    parser = argparse.ArgumentParser(prog=f"services.{spec.name}", description=f"Berth's {spec.name} service.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve calls until SIGTERM")
    commands.add_parser("migrate", help="bring the database to the newest schema, as its owner")
    seeding = commands.add_parser("seed", help="write demo data, where the service has any; what is there stays")
    seeding.add_argument("--file", type=Path, required=True, help="the data, as TOML")
    arguments = parser.parse_args()
    if arguments.command == "migrate":
        _migrate(spec)
        return
    config = configuration.read(spec.config)
    logs.set_up(spec.name, config.log_level)
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
    if arguments.command == "serve":
        uvloop.run(_serve(spec, config))
    elif spec.seed is not None:
        uvloop.run(_seed(spec, config, tomllib.loads(arguments.file.read_text())))


def _migrate(spec: ServiceSpec[C]) -> None:
    from services.chassis.db.migrate import upgrade

    logs.set_up(spec.name, "INFO")
    applied = upgrade(configuration.owner_database_url(), f"services.{spec.name}.migrations")
    logger.info("migrated", extra={"applied": applied})


async def _seed(spec: ServiceSpec[C], config: C, data: Mapping[str, Any]) -> None:
    async with _foundation(spec, config) as foundation:
        if spec.seed is not None:
            await spec.seed(config, foundation, data)


async def _serve(spec: ServiceSpec[C], config: C) -> None:
    from services.chassis.rpc.policy import PolicyMissing
    from services.chassis.rpc.server import PortTaken

    async with _foundation(spec, config) as foundation:
        built = await spec.build(config, foundation)
        try:
            process = _Process(spec, config, foundation, built)
        except (PolicyMissing, PortTaken) as error:
            raise SystemExit(str(error)) from None
        await process.run()


@asynccontextmanager
async def _foundation(spec: ServiceSpec[C], config: C) -> AsyncIterator[Foundation]:
    from services.chassis.db import Database
    from services.chassis.rpc import context
    from services.chassis.rpc.channels import Channels

    async with AsyncExitStack() as closing:
        database = Database(config.database_url, remaining=context.remaining)
        worker_database = Database(config.worker_database_url, remaining=context.remaining)
        for opened in (database, worker_database):
            closing.push_async_callback(opened.close)
            await opened.open()
        channels = Channels(config)
        closing.push_async_callback(channels.close)
        relay = _relay(spec, config, database, worker_database)

        @cache
        def redis() -> Redis:
            from redis.asyncio import Redis as Client

            client = Client.from_url(config.redis_url)
            closing.push_async_callback(client.aclose)
            return client

        yield Foundation(
            clock=SystemClock(timedelta(seconds=config.clock_offset_seconds)),
            database=database,
            worker_database=worker_database,
            channels=channels,
            relay=relay,
            redis=redis,
            drain=asyncio.Event(),
            closing=closing,
        )


def _relay(spec: ServiceSpec[C], config: C, *databases: Database) -> Relay | None:
    """The relay of a service that has an outbox: woken by every commit that appends to it."""
    if "outbox" not in spec.metadata.tables or not config.kafka:
        return None
    from services.chassis.outbox.relay import Relay

    relay = Relay(databases[-1], config.kafka, spec.name)
    for database in databases:
        database.on_event(relay.wake)
    return relay


class _Process:
    """A serving process, from its start to its end."""

    def __init__(self, spec: ServiceSpec[C], config: C, foundation: Foundation, built: Built) -> None:
        from services.chassis.rpc.health import Health
        from services.chassis.rpc.method import ServerState, Wiring
        from services.chassis.rpc.server import Server
        from services.chassis.rpc.tenants import RememberedTenants, RemoteTenants
        from services.chassis.telemetry.metrics import RpcMetrics
        from services.chassis.telemetry.traces import Traces
        from services.chassis.tokens.keys import KeySet, RemoteKeys
        from services.chassis.tokens.verify import TokenVerifier

        self._config = config
        self._foundation = foundation
        self._metrics = RpcMetrics()
        self._traces = Traces(spec.name, config.otlp_endpoint) if config.otlp_endpoint else None
        keys = KeySet(built.keys or RemoteKeys(foundation.channels), config.jwks_file)
        health = Health(foundation.database.ping)
        state = ServerState()
        self._metrics.watch(state)
        wiring = Wiring(
            verifier=TokenVerifier(keys, foundation.clock),
            tenants=RememberedTenants(built.tenants or RemoteTenants(foundation.channels)),
            metrics=self._metrics,
            traces=self._traces,
            state=state,
            max_concurrent_calls=config.max_concurrent_calls,
            strict=config.environment == "local",
        )
        self._server = Server(config, built.servicers, wiring, health)
        relaying = [foundation.relay.run] if foundation.relay is not None else []
        self._background: list[Background] = [*built.background, keys.keep_fresh, health.watch, *relaying]

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        drain, stop = self._foundation.drain, asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, drain.set)
        hide_metrics = show(self._config.metrics_listen) if self._config.metrics_listen is not None else None
        await self._server.start()
        working = [asyncio.create_task(self._keep_going(work, stop)) for work in self._background]
        logger.info("started", extra={"listen": str(self._config.listen)})
        # What lives from here to the end need not be looked at by every collection.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)
        await drain.wait()
        logger.info("draining")
        await self._server.drain()
        stop.set()
        _, late = await asyncio.wait(working, timeout=BACKGROUND_STOP_SECONDS)
        for task in late:
            task.cancel()
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        if hide_metrics is not None:
            hide_metrics()
        logger.info("stopped")

    async def _keep_going(self, work: Background, stop: asyncio.Event) -> None:
        """Run background work, again after a pause when it fails: one bad row must not end what serves everybody."""
        name = getattr(work, "__qualname__", type(work).__name__)
        pause = FIRST_PAUSE_SECONDS
        while not stop.is_set():
            began = time.monotonic()
            try:
                await work(stop)
            except Exception:
                logger.exception("background work failed", extra={"work": name})
                self._metrics.restarted(name)
            else:
                return
            pause = FIRST_PAUSE_SECONDS if time.monotonic() - began > MAX_PAUSE_SECONDS else pause
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
