"""Inventory's holds in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.booking.domain import HoldEnded, Item, Order, Policy, PricedItem, PriceKind, PriceLine, SlotTaken
from services.booking.ports import Held, Mandate
from services.chassis.clock import FixedClock
from services.chassis.money import Money
from tests.ports.booking.fakes.scene import BEGIN, PRICE, RESOURCE, VENDOR, Turn, no_turn


@dataclass(slots=True)
class FakeHold:
    """Units kept, or the memory that none are to be kept."""

    status: str  # HELD, POSTED, VOIDED, CANCELLED
    quantity: int
    expire_time: datetime
    held: Held | None


class FakeInventory:
    """One resource with counted capacity. Holds end by time, and a void is remembered."""

    def __init__(self, clock: FixedClock, capacity: int = 5, turn: Turn = no_turn, price: Money = PRICE) -> None:
        self.clock = clock
        self.capacity = capacity
        self.price = price
        self.policy = Policy.FLEXIBLE
        self.holds: dict[tuple[str, str], FakeHold] = {}
        self.calls: list[str] = []
        self.trouble: dict[str, BaseException] = {}  # what the next such call meets
        self._turn = turn

    async def place(self, mandate: Mandate, step: str, order: Order, ttl: timedelta) -> Held:
        await self._begin("place")
        name = (mandate.booking_id, step)
        found = self.holds.get(name)
        if found is None:
            items = tuple(priced(item, self.price, self.policy) for item in order.items or (Item(RESOURCE),))
            quantity = sum(sold.item.quantity for sold in items)
            if self.used() + quantity > self.capacity:
                raise SlotTaken(resourceId=RESOURCE, available=str(self.capacity - self.used()))
            held = Held(items, sum((sold.total for sold in items[1:]), start=items[0].total))
            found = self.holds[name] = FakeHold("HELD", quantity, self.clock.now() + ttl, held)
        await self._turn()
        if found.held is None or not self._counts(found):
            raise HoldEnded
        return found.held

    async def post(self, mandate: Mandate, step: str) -> None:
        await self.post_unseen(mandate, step)

    async def post_unseen(self, mandate: Mandate, step: str) -> Held:
        await self._begin("post")
        found = self.holds.get((mandate.booking_id, step))
        if found is None or found.held is None or not self._counts(found):
            raise HoldEnded
        found.status = "POSTED"
        await self._turn()
        return found.held

    async def void(self, mandate: Mandate, step: str) -> None:
        await self._begin("void")
        found = self.holds.setdefault((mandate.booking_id, step), FakeHold("VOIDED", 0, self.clock.now(), None))
        if found.status == "POSTED":
            raise HoldEnded
        if found.status == "HELD":
            found.status = "VOIDED"
        await self._turn()

    async def cancel_posted(self, mandate: Mandate, step: str) -> None:
        await self._begin("cancel_posted")
        found = self.holds.get((mandate.booking_id, step))
        if found is None or found.status not in {"POSTED", "CANCELLED"}:
            raise HoldEnded
        found.status = "CANCELLED"
        await self._turn()

    def used(self) -> int:
        """Units that nobody else can have now."""
        return sum(hold.quantity for hold in self.holds.values() if self._counts(hold))

    def _counts(self, hold: FakeHold) -> bool:
        return hold.status == "POSTED" or (hold.status == "HELD" and self.clock.now() < hold.expire_time)

    async def _begin(self, call: str) -> None:
        if call in self.trouble:
            raise self.trouble.pop(call)
        self.calls.append(call)
        await self._turn()


def priced(item: Item, total: Money = PRICE, policy: Policy = Policy.FLEXIBLE, begin: datetime = BEGIN) -> PricedItem:
    """The item as inventory would sell it."""
    line = PriceLine(PriceKind.UNIT, item.quantity, total, total)
    return PricedItem(
        item, VENDOR, "Harbour Hotel", "Europe/Berlin", begin, begin + timedelta(days=2), (line,), total, policy
    )
