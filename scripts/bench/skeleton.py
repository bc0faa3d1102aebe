"""Owns the bare skeleton: the same contract, hops and certificates with one statement each and no promise kept.

It is what a booking cannot cost less than in this shape: Envoy → booking → inventory and payment.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import psycopg
import uvloop
from berth.booking.v1 import booking_pb2, booking_service_pb2
from berth.inventory.v1 import availability_service_pb2, availability_service_pb2_grpc
from berth.payment.v1 import payment_pb2, payment_service_pb2, payment_service_pb2_grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from psycopg_pool import AsyncConnectionPool

CALL_SECONDS = 5.0
POOL_SIZE = 8
TABLE = "CREATE TABLE IF NOT EXISTS bench_{name} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text)"


class Rows:
    """One statement a call, prepared, in autocommit."""

    def __init__(self, url: str, name: str) -> None:
        self._create = TABLE.format(name=name)
        self._insert = f"INSERT INTO bench_{name} (what) VALUES (%s) RETURNING id"  # noqa: S608 (our own constant names)
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]] = AsyncConnectionPool(
            url, kwargs={"autocommit": True}, min_size=1, max_size=POOL_SIZE, open=False
        )

    async def open(self) -> None:
        await self._pool.open()
        async with self._pool.connection() as connection:
            await connection.execute(self._create.encode())

    async def insert(self, what: str) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(self._insert.encode(), (what,), prepare=True)


Handler = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]


def inventory(rows: Rows) -> Handler:
    """Keeps nothing: one row a call."""

    async def place(request: Any, _context: object) -> Message:
        await rows.insert(request.booking_id)
        return availability_service_pb2.Hold(booking_id=request.booking_id)

    return place


def payment(rows: Rows) -> Handler:
    """Charges nobody: one row a call."""

    async def start(request: Any, _context: object) -> Message:
        await rows.insert(request.booking_id)
        status = payment_pb2.Payment.Status.SUCCEEDED
        return payment_service_pb2.ChargeResponse(payment=payment_pb2.Payment(status=status))

    return start


def booking(rows: Rows, holds: grpc.aio.Channel, charges: grpc.aio.Channel) -> Handler:
    """Promises nothing: one row, then the two others."""
    hold_stub: Any = availability_service_pb2_grpc.BookingHoldServiceStub(holds)
    charge_stub: Any = payment_service_pb2_grpc.ChargeServiceStub(charges)

    async def create(request: Any, _context: object) -> Message:
        await rows.insert(request.resource_id)
        hold = availability_service_pb2.PlaceBookingHoldRequest(booking_id="bench", step="book")
        await hold_stub.PlaceBookingHold(hold, timeout=CALL_SECONDS)
        start = payment_service_pb2.StartPaymentRequest(booking_id="bench", step="book")
        await charge_stub.StartPayment(start, timeout=CALL_SECONDS)
        return booking_pb2.Booking(resource_id=request.resource_id, status=booking_pb2.Booking.Status.CONFIRMED)

    return create


METHODS: dict[str, tuple[str, str, type[Message]]] = {
    "inventory": (
        "berth.inventory.v1.BookingHoldService",
        "PlaceBookingHold",
        availability_service_pb2.PlaceBookingHoldRequest,
    ),
    "payment": ("berth.payment.v1.ChargeService", "StartPayment", payment_service_pb2.StartPaymentRequest),
    "booking": ("berth.booking.v1.BookingService", "CreateBooking", booking_service_pb2.CreateBookingRequest),
}


async def serve(name: str, listen: str, database_url: str, tls: Path, peers: dict[str, str]) -> None:
    """Serves one of the three until it is killed."""
    rows = Rows(database_url, name)
    await rows.open()
    server = grpc.aio.server()
    ca, certificate, key = ((tls / file).read_bytes() for file in ("ca.crt", f"{name}.crt", f"{name}.key"))

    def channel(peer: str) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        return grpc.aio.secure_channel(peers[peer], credentials, [("grpc.ssl_target_name_override", peer)])

    if name == "booking":
        handler = booking(rows, channel("inventory"), channel("payment"))
    else:
        handler = inventory(rows) if name == "inventory" else payment(rows)
    service, method, request = METHODS[name]
    unary: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        handler,
        request_deserializer=request.FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: unary})])
    # The gateway sends nobody to a service that does not say that it is healthy.
    told = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(told, server)
    await told.set("", health_pb2.HealthCheckResponse.SERVING)
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    server.add_secure_port(listen, credentials)
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    """Entry: one process serves one of the three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(METHODS))
    parser.add_argument("--listen", required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--tls", type=Path, required=True)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=HOST:PORT")
    given = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in given.peer)
    uvloop.run(serve(given.name, given.listen, given.database_url, given.tls, peers))


if __name__ == "__main__":
    main()
