"""Orders for one resource are decided together, each with its own outcome; others do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import Overloaded
from services.chassis.rpc import context
from services.inventory.domain.errors import UnitsTaken
from services.inventory.domain.holds import Claim, Hold, HoldStatus, Order
from services.inventory.domain.items import Cells
from services.inventory.store import lanes
from services.inventory.store.lanes import Lanes, Verdict

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def an_order(name: str, *resources: str, booking: str = "") -> Order:
    claims = tuple(Claim(resource, 1, Cells(1, 1), 1, NOW, NOW) for resource in resources or ("res_1",))
    return Order(name, "usr", (), claims, timedelta(minutes=1), booking_id=booking, step="book" if booking else "")


class Database:
    """Decides when told to, and remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.remaining: list[float | None] = []
        self.gate = asyncio.Event()
        self.fault: Exception | None = None

    async def decide(self, _tenant_id: str, orders: Sequence[Order]) -> list[Verdict]:
        self.batches.append([order.hold_id for order in orders])
        self.remaining.append(context.remaining())
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [_verdict(order) for order in orders]


def _verdict(order: Order) -> Verdict:
    if order.hold_id.startswith("taken"):
        return UnitsTaken(available="0", resourceId="res_1")
    return Hold(order.hold_id, "usr", HoldStatus.HELD, (), NOW, NOW)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_comes_meanwhile_is_decided_together() -> None:
    database = Database()
    placing = Lanes(database.decide)
    tasks = [asyncio.create_task(placing.place("ten", an_order(name))) for name in ("a", "b", "taken", "c")]
    await settle()
    assert database.batches == [["a"]]
    database.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert database.batches == [["a"], ["b", "taken", "c"]]
    assert [type(result) for result in results] == [Hold, Hold, UnitsTaken, Hold]
    assert [result.hold_id for result in results if isinstance(result, Hold)] == ["a", "b", "c"]
    await placing.place("ten", an_order("d"))
    assert database.batches[2:] == [["d"]]


async def test_others_do_not_wait() -> None:
    database = Database()
    placing = Lanes(database.decide)
    orders = [an_order("a"), an_order("b", "res_2"), an_order("c", "res_1", "res_2")]
    tasks = [asyncio.create_task(placing.place("ten", order)) for order in orders]
    tasks.append(asyncio.create_task(placing.place("other", an_order("d"))))
    await settle()
    assert database.batches == [["a"], ["b"], ["c"], ["d"]]
    database.gate.set()
    await asyncio.gather(*tasks)


async def test_the_same_order_twice_is_never_in_one_statement() -> None:
    database = Database()
    placing = Lanes(database.decide)
    names = [("a", ""), ("b", "bkg_1"), ("c", "bkg_1"), ("d", "bkg_2"), ("e", "bkg_1")]
    tasks = [asyncio.create_task(placing.place("ten", an_order(name, booking=booking))) for name, booking in names]
    await settle()
    database.gate.set()
    await asyncio.gather(*tasks)
    assert database.batches == [["a"], ["b", "d"], ["c"], ["e"]]


async def test_who_gives_up_while_waiting_is_never_sent() -> None:
    database = Database()
    placing = Lanes(database.decide)
    tasks = [asyncio.create_task(placing.place("ten", an_order(name))) for name in ("a", "b", "c")]
    await settle()
    tasks[1].cancel()
    tasks[0].cancel()
    await settle()
    assert database.batches == [["a"], ["c"]]
    database.gate.set()
    assert (await tasks[2]).hold_id == "c"


async def test_a_fault_belongs_to_those_who_waited_for_it() -> None:
    database = Database()
    database.fault = ConnectionError("gone")
    placing = Lanes(database.decide)
    tasks = [asyncio.create_task(placing.place("ten", an_order(name))) for name in ("a", "b", "c")]
    await settle()
    database.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    database.fault = None
    assert (await placing.place("ten", an_order("d"))).hold_id == "d"


async def test_a_batch_has_the_time_of_its_most_patient_member() -> None:
    database = Database()
    placing = Lanes(database.decide)

    async def within(seconds: float, name: str) -> Hold:
        with context.background("test", tenant_id="ten", seconds=seconds):
            return await placing.place("ten", an_order(name))

    tasks = [asyncio.create_task(within(*asked)) for asked in ((1.0, "a"), (2.0, "b"), (4.0, "c"), (3.0, "d"))]
    await settle()
    database.gate.set()
    await asyncio.gather(*tasks)
    assert [round(left or 0) for left in database.remaining] == [1, 4]


async def test_a_lane_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "MAX_WAITING", 2)
    monkeypatch.setattr(lanes, "MAX_BATCH", 1)
    database = Database()
    placing = Lanes(database.decide)
    tasks = [asyncio.create_task(placing.place("ten", an_order(name))) for name in ("a", "b", "c", "d")]
    await settle()
    database.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [Hold, Hold, Hold, Overloaded]
    assert database.batches == [["a"], ["b"], ["c"]]
