"""Owns the load of reads: one booking over REST and over gRPC, by the same gateway."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
from berth.booking.v1 import booking_service_pb2

from scripts.bench import reads, settle
from scripts.bench.ground import Bench
from scripts.bench.market import CALL_SECONDS
from scripts.bench.table import Line, Ratio

GET = "/berth.booking.v1.BookingService/GetBooking"
GOAL = 1.35


def rest_and_grpc(bench: Bench) -> None:
    """Turn by turn, one connection each."""
    market, gateway = bench.market, bench.mesh.gateway_url
    token = market.sign_in("customer")
    [request] = market.bookings(1, market.make_resources(1), token)
    made = httpx.post(gateway + request.path, json=request.body, headers=dict(request.headers), timeout=CALL_SECONDS)
    made.raise_for_status()
    booking_id = made.json()["bookingId"]
    authorization = f"Bearer {token}"
    got = reads.run(
        reads.Plan(
            base_url=gateway,
            path=f"/api/v1/bookings/{booking_id}",
            headers={"Authorization": authorization},
            address=urlsplit(gateway).netloc,
            method=GET,
            request=booking_service_pb2.GetBookingRequest(booking_id=booking_id).SerializeToString().hex(),
            metadata=[("authorization", authorization)],
            count=bench.sizes.reads,
        ),
        bench.work,
    )
    settle.drain(bench.databases)
    bench.report.lines += [_line("read, REST", got.rest), _line("read, gRPC", got.grpc)]
    bench.report.ratios.append(Ratio("REST ÷ gRPC read, median", got.ratio, GOAL, at_least=False))


def _line(name: str, milliseconds: Sequence[float]) -> Line:
    ordered = sorted(milliseconds)
    shares = tuple(ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99))
    return Line(name, 1000 * len(ordered) / sum(ordered), 0, (shares[0], shares[1], shares[2]), note="one connection")
