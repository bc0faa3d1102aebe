"""Auth's composition root: configuration, adapters, use cases, server."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from berth.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from berth.auth.v1.tenant_service_pb2_grpc import (
    add_DirectoryServiceServicer_to_server,
    add_KeyServiceServicer_to_server,
    add_TenantServiceServicer_to_server,
)
from berth.auth.v1.user_service_pb2_grpc import add_UserServiceServicer_to_server
from cryptography.exceptions import InvalidTag

from services.auth import rpc, wire
from services.auth.config import AuthConfig
from services.auth.domain.facts import Fact
from services.auth.domain.roles import Role
from services.auth.domain.users import Profile
from services.auth.ports import Ports
from services.auth.store.passwords import Argon2Passwords
from services.auth.store.secrets import MasterSecrets, Sealer
from services.auth.store.signing import Ed25519KeyMaker, JwtSigner
from services.auth.store.tables import METADATA
from services.auth.store.work import DatabaseWork
from services.auth.usecases.keys import hasten_rotation, rotate_keys
from services.auth.usecases.seeding import Demo, DemoUser, plant
from services.auth.workers import workers
from services.chassis.clock import Clock, SystemClock
from services.chassis.config import ConfigError, read
from services.chassis.db import Database
from services.chassis.errors import Refusal
from services.chassis.outbox import OutboxEvent
from services.chassis.retention import Retention
from services.chassis.rpc.context import current_or_none
from services.chassis.service import Built, Foundation, ServiceSpec, run

logger = logging.getLogger(__name__)

SIGNING_KEY: Final = "signing key"  # what the master key seals them as


def connect(config: AuthConfig, clock: Clock, database: Database, worker_database: Database) -> Ports:
    """The ports over the real world."""
    work = DatabaseWork(database, worker_database, _traced)
    sealer = Sealer(config.master_key, SIGNING_KEY)
    return Ports(
        clock=clock,
        work=work,
        passwords=Argon2Passwords(
            time_cost=config.argon2_time_cost,
            memory_kib=config.argon2_memory_kib,
            threads=config.argon2_threads,
        ),
        secrets=MasterSecrets(config.master_key),
        signer=JwtSigner(work.signing_keys, sealer, clock),
        key_maker=Ed25519KeyMaker(sealer),
        rules=config.rules,
    )


def _traced(fact: Fact, tenant_id: str, version: int, at: datetime) -> OutboxEvent:
    """A fact's event within the trace of the call that made it."""
    call = current_or_none()
    event = wire.outbox_event(fact, tenant_id, version, at)
    return event if call is None else replace(event, traceparent=call.traceparent)


async def build(config: AuthConfig, foundation: Foundation) -> Built:
    """Auth's parts."""
    retention = Retention(foundation.worker_database, foundation.clock, METADATA)
    ports = connect(config, foundation.clock, foundation.database, foundation.worker_database)
    try:
        await rotate_keys(ports)
        await _must_be_ours(ports, config)
    except Refusal as refusal:
        # The database is out: the worker makes the first keys once it is back.
        logger.warning("keys not looked at yet", extra={"error": refusal.message})
    return Built(
        servicers=[
            (add_AuthServiceServicer_to_server, rpc.AuthRpc(ports)),
            (add_UserServiceServicer_to_server, rpc.UserRpc(ports)),
            (add_TenantServiceServicer_to_server, rpc.TenantRpc(ports)),
            (add_KeyServiceServicer_to_server, rpc.KeyRpc(ports)),
            (add_DirectoryServiceServicer_to_server, rpc.DirectoryRpc(ports)),
        ],
        background=[*(worker.run for worker in workers(ports)), retention.run],
        keys=rpc.OwnKeys(ports),
        tenants=rpc.OwnTenants(ports),
    )


async def _must_be_ours(ports: Ports, config: AuthConfig) -> None:
    sealer = Sealer(config.master_key, SIGNING_KEY)
    try:
        for key in await ports.work.signing_keys():
            sealer.open(key.key_id, key.sealed)
    except InvalidTag:
        raise ConfigError(
            "BERTH_MASTER_KEY is not the one that this database's signing keys are sealed with."
        ) from None


async def seed(config: AuthConfig, foundation: Foundation, document: Mapping[str, Any]) -> None:
    """Store the demo's tenant and people."""
    if config.environment != "local":
        raise ConfigError("Demo data has public passwords: it is planted only where BERTH_ENVIRONMENT is local.")
    ports = connect(config, foundation.clock, foundation.worker_database, foundation.worker_database)
    await plant(ports, _demo(document))
    await rotate_keys(ports)


def _demo(document: Mapping[str, Any]) -> Demo:
    vendors: list[Mapping[str, Any]] = document.get("vendors", [])
    return Demo(
        tenant_id=document["tenant"]["id"],
        slug=document["tenant"]["slug"],
        display_name=document["tenant"]["name"],
        users=[
            DemoUser(
                user_id=user["id"],
                profile=Profile(
                    email=user["email"],
                    first_name=user["first_name"],
                    last_name=user["last_name"],
                    locale=user["locale"],
                ),
                password=user["password"],
                roles=tuple(Role(role) for role in user["roles"]),
                vendor_ids=tuple(vendor["id"] for vendor in vendors if vendor["owner"] == user["id"]),
            )
            for user in document["users"]
        ],
    )


async def hasten(config: AuthConfig) -> str:
    """Have the waiting key take over as soon as everybody knows it; says when."""
    clock = SystemClock(timedelta(seconds=config.clock_offset_seconds))
    database = Database(config.worker_database_url, pool_size=1)
    await database.open()
    try:
        sign_time = await hasten_rotation(connect(config, clock, database, database))
    finally:
        await database.close()
    if sign_time is None:
        return "No key waits: auth makes one within a minute while it serves."
    return f"The next key signs from {sign_time:%Y-%m-%d %H:%M:%S} UTC on."


SPEC = ServiceSpec(name="auth", config=AuthConfig, build=build, metadata=METADATA, seed=seed)


def main() -> None:
    """`serve`, `migrate` and `seed` as every service has them, and auth's own `rotate-keys`."""
    if sys.argv[1:] == ["rotate-keys"]:
        sys.stdout.write(f"{asyncio.run(hasten(read(AuthConfig)))}\n")
    else:
        run(SPEC)


if __name__ == "__main__":
    main()
