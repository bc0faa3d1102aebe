"""Coalesces orders for the same resource: while one statement decides, those that arrive wait for the next, together.

An order for a resource that nobody else is ordering goes straight to the database. Behind it a lane forms: everybody
who arrives before it is done is decided in one statement after it, in the order of arrival. An order for several
resources goes by itself; the database's locks put it in line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field

from services.chassis.errors import Overloaded
from services.chassis.rpc import context
from services.inventory.domain.holds import Hold, Order

MAX_BATCH = 128  # orders in one statement
MAX_WAITING = 2_000  # orders in a lane; more could not be decided in time
MAX_SECONDS = 5.0  # for a statement, where its orders have longer

Verdict = Hold | Exception
Decide = Callable[[str, Sequence[Order]], Awaitable[list[Verdict]]]


@dataclass(slots=True)
class _Waiting:
    order: Order
    answer: asyncio.Future[Verdict]
    seconds: float


@dataclass(slots=True)
class _Lane:
    tenant_id: str
    waiting: deque[_Waiting] = field(default_factory=deque)


class Lanes:
    """Brings orders to `decide`, which answers each with its hold or the reason why not."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def place(self, tenant_id: str, order: Order) -> Hold:
        """The order's hold; raises the reason why not."""
        resources = {claim.resource_id for claim in order.claims}
        if len(resources) != 1:
            return _answer((await self._decide(tenant_id, [order]))[0])
        name = (tenant_id, resources.pop())
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(tenant_id)
            try:
                verdict = (await self._decide(tenant_id, [order]))[0]
            finally:
                self._go_on(name, lane)
            return _answer(verdict)
        if len(lane.waiting) >= MAX_WAITING:
            raise Overloaded
        left = context.remaining()
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        lane.waiting.append(_Waiting(order, answer, MAX_SECONDS if left is None else min(left, MAX_SECONDS)))
        # An order whose caller gives up while it waits is never sent: its future is cancelled with the caller.
        return _answer(await answer)

    def _go_on(self, name: tuple[str, str], lane: _Lane) -> None:
        if not lane.waiting:
            del self._lanes[name]
            return
        # The statements to come belong to no single call: they must not inherit the deadline of the one that ends here.
        task = asyncio.get_running_loop().create_task(self._drain(name, lane), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _drain(self, name: tuple[str, str], lane: _Lane) -> None:
        try:
            while batch := _take(lane.waiting):
                with context.background(
                    "place_holds", tenant_id=lane.tenant_id, seconds=max(member.seconds for member in batch)
                ):
                    await self._decide_batch(lane.tenant_id, batch)
        finally:
            del self._lanes[name]
            for left in lane.waiting:
                left.answer.cancel()

    async def _decide_batch(self, tenant_id: str, batch: Sequence[_Waiting]) -> None:
        try:
            verdicts = await self._decide(tenant_id, [member.order for member in batch])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait for it
            verdicts = [error] * len(batch)
        for member, verdict in zip(batch, verdicts, strict=True):
            if not member.answer.done():
                member.answer.set_result(verdict)


def _take(waiting: deque[_Waiting]) -> list[_Waiting]:
    """The next batch: those still waited for, each identity once, so that a second one learns what the first got."""
    batch: list[_Waiting] = []
    again: list[_Waiting] = []
    seen: set[tuple[str, ...]] = set()
    while waiting and len(batch) < MAX_BATCH:
        member = waiting.popleft()
        if member.answer.done():
            continue
        if member.order.identity in seen:
            again.append(member)
        else:
            seen.add(member.order.identity)
            batch.append(member)
    waiting.extendleft(reversed(again))
    return batch


def _answer(verdict: Verdict) -> Hold:
    if isinstance(verdict, Exception):
        raise verdict
    return verdict
