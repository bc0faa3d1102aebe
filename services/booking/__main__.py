"""Booking's composition root: configuration, adapters, use cases, server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from berth.booking.v1.booking_service_pb2_grpc import (
    add_BookingDirectoryServiceServicer_to_server,
    add_BookingServiceServicer_to_server,
)

from services.booking import rpc
from services.booking.clients import RemoteInventory, RemotePayments
from services.booking.config import BookingConfig
from services.booking.consumers import payment_consumer
from services.booking.ports import Ports
from services.booking.store import METADATA, StoredBookings
from services.booking.workers import SagaWorker
from services.chassis.retention import Retention
from services.chassis.rpc import context
from services.chassis.service import Built, Foundation, ServiceSpec, run
from services.chassis.waves import Waves


class CallPatience:
    """Waiting inside the call that is being served."""

    def remaining(self) -> float | None:
        """The seconds that the call has left."""
        return context.remaining()

    async def pause(self, seconds: float) -> None:
        """Wait, and let others go on."""
        await asyncio.sleep(seconds)


def connect(config: BookingConfig, foundation: Foundation, wake: Callable[[], None]) -> Ports:
    """The ports over the real world."""
    relay_wake = foundation.relay.wake if foundation.relay is not None else _nobody_waits
    return Ports(
        clock=foundation.clock,
        bookings=StoredBookings(
            foundation.database, foundation.worker_database, wake=relay_wake, traceparent=_traceparent
        ),
        inventory=RemoteInventory(foundation.channels),
        payments=RemotePayments(foundation.channels),
        patience=CallPatience(),
        door=Waves(),
        times=config.times,
        wake=wake,
    )


async def build(config: BookingConfig, foundation: Foundation) -> Built:
    """Booking's parts."""
    woken = asyncio.Event()
    ports = connect(config, foundation, woken.set)
    worker = SagaWorker(ports, woken)
    retention = Retention(foundation.worker_database, foundation.clock, METADATA)
    listening = [payment_consumer(ports, config.kafka).run] if config.kafka else []
    return Built(
        servicers=[
            (add_BookingServiceServicer_to_server, rpc.BookingRpc(ports)),
            (add_BookingDirectoryServiceServicer_to_server, rpc.BookingDirectoryRpc(ports)),
        ],
        background=[worker.run, retention.run, *listening],
    )


def _traceparent() -> str:
    call = context.current_or_none()
    return call.traceparent if call is not None else ""


def _nobody_waits() -> None:
    """Without Kafka there is no relay to wake; the events stay in the outbox."""


SPEC = ServiceSpec(name="booking", config=BookingConfig, build=build, metadata=METADATA)

if __name__ == "__main__":
    run(SPEC)
