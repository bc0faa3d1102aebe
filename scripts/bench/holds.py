"""Owns the loads of holds: one hot resource against many cold ones, and against calls that do nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from berth.inventory.v1 import availability_service_pb2 as messages
from berth.inventory.v1 import item_pb2
from google.protobuf.duration_pb2 import Duration

from scripts.bench import calls, settle
from scripts.bench.calls import Peer, Plan, Result
from scripts.bench.ground import Bench
from scripts.bench.market import customer_id, stay
from scripts.bench.table import Line, Ratio
from services.chassis.ids import new_id

PLACE = "/berth.inventory.v1.BookingHoldService/PlaceBookingHold"
EMPTY = "/grpc.health.v1.Health/Check"
CLIENTS = 64
TTL = Duration(seconds=1200)
HOT, COLD, NOTHING = "holds, one hot resource", "holds, cold resources", "empty RPC"
HOT_GOAL = 0.7
OK = "OK"  # a refusal is cheaper than what it refuses: only this counts


def hot_and_cold(bench: Bench) -> None:
    """Straight at inventory, as booking; turn by turn, so that a neighbour's noise meets all alike."""
    market, sizes, mesh = bench.market, bench.sizes, bench.mesh
    resources = market.make_resources(sizes.cold_resources)
    peer = Peer(mesh.endpoint("inventory"), "inventory", str(mesh.tls), "booking")
    metadata = [("authorization", f"Bearer {market.sign_in('customer')}")]
    got: dict[str, list[Result]] = {HOT: [], COLD: [], NOTHING: []}
    orders = {HOT: _orders(resources[:1], sizes.holds), COLD: _orders(resources, sizes.holds)}
    for turn in range(sizes.rounds + 1):
        for name, found in got.items():
            asked = [next(orders[name]) if name in orders else "" for _ in range(sizes.holds)]
            method = PLACE if name in orders else EMPTY
            result = calls.run(Plan(peer, method, asked, metadata, CLIENTS), bench.work)
            if turn:  # the first one warms up
                found.append(result)
    settle.drain(bench.databases)
    audit = settle.violations(mesh, bench.databases)
    for name, found in got.items():
        bench.report.lines.append(_line(name, found, None if name == NOTHING else audit))
    hot, cold, nothing = (_per_second(found) for found in got.values())
    bench.report.ratios += [
        Ratio("hot ÷ cold holds", hot / cold, HOT_GOAL),
        Ratio("cold holds ÷ empty RPC", cold / nothing, 0.0),
    ]


def _orders(resources: Sequence[str], holds: int) -> Iterator[str]:
    """Holds of ever new bookings, all of a turn for the same nights, as bytes in hexadecimal."""
    number = 0
    while True:
        start, end = stay(number // holds)
        item = item_pb2.Item(resource_id=resources[number % len(resources)], start_date=start, end_date=end, quantity=1)
        order = messages.PlaceBookingHoldRequest(
            booking_id=new_id("bkg", at=datetime.now(UTC)), step="book", user_id=customer_id(), items=[item], ttl=TTL
        )
        yield order.SerializeToString().hex()
        number += 1


def _per_second(found: Sequence[Result]) -> float:
    return sum(result.codes.get(OK, 0) for result in found) / sum(result.seconds for result in found)


def _line(name: str, found: Sequence[Result], audit: int | None) -> Line:
    codes: Counter[str] = Counter()
    for result in found:
        codes.update(result.codes)
    del codes[OK]
    failed = "".join(f", {count} {code}" for code, count in codes.items())
    note = f"gRPC, {CLIENTS} at once, {len(found)} rounds{failed}"
    return Line(name, _per_second(found), codes.total(), audit=audit, note=note)
