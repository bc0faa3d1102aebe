"""Inventory's composition root: configuration, adapters, use cases, server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.inventory.v1.availability_service_pb2_grpc import (
    add_AvailabilityServiceServicer_to_server,
    add_BookingHoldServiceServicer_to_server,
    add_HoldServiceServicer_to_server,
)
from berth.inventory.v1.catalog_service_pb2_grpc import (
    add_ResourceServiceServicer_to_server,
    add_VendorServiceServicer_to_server,
)

from services.chassis.db import Database
from services.chassis.retention import CHASSIS_JOBS, Retention
from services.chassis.service import Built, Foundation, ServiceSpec, run
from services.inventory import rpc
from services.inventory.clients import RemoteDirectory
from services.inventory.config import InventoryConfig
from services.inventory.ports import Ports
from services.inventory.store.catalog import SqlCatalog
from services.inventory.store.grants import SqlGrants
from services.inventory.store.holds import SqlHolds
from services.inventory.store.retention import JOBS
from services.inventory.store.tables import METADATA
from services.inventory.usecases.seeding import plant
from services.inventory.wire.demo import demo_resources, demo_vendors
from services.inventory.workers import granter, sweeper


def connect(foundation: Foundation, database: Database) -> Ports:
    """The ports over the real world."""
    return Ports(
        clock=foundation.clock,
        catalog=SqlCatalog(database, foundation.clock),
        holds=SqlHolds(database, foundation.worker_database, foundation.clock),
        grants=SqlGrants(foundation.worker_database),
        directory=RemoteDirectory(foundation.channels),
    )


async def build(config: InventoryConfig, foundation: Foundation) -> Built:
    """Inventory's parts."""
    ports = connect(foundation, foundation.database)
    retention = Retention(foundation.worker_database, foundation.clock, METADATA, (*CHASSIS_JOBS, *JOBS))
    return Built(
        servicers=[
            (add_VendorServiceServicer_to_server, rpc.VendorRpc(ports)),
            (add_ResourceServiceServicer_to_server, rpc.ResourceRpc(ports)),
            (add_AvailabilityServiceServicer_to_server, rpc.AvailabilityRpc(ports)),
            (add_HoldServiceServicer_to_server, rpc.HoldRpc(ports)),
            (add_BookingHoldServiceServicer_to_server, rpc.BookingHoldRpc(ports)),
        ],
        background=[sweeper(ports, config.sweep_seconds).run, granter(ports).run, retention.run],
    )


async def seed(_config: InventoryConfig, foundation: Foundation, document: Mapping[str, Any]) -> None:
    """Store the demo's vendors and what they sell."""
    now = foundation.clock.now()
    ports = connect(foundation, foundation.worker_database)
    await plant(ports, document["tenant"]["id"], demo_vendors(document, now), demo_resources(document, now))


SPEC = ServiceSpec(name="inventory", config=InventoryConfig, build=build, metadata=METADATA, seed=seed)

if __name__ == "__main__":
    run(SPEC)
