"""All of booking's fakes together, and the use cases' door to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from services.booking.ports import Door, Ports, Times
from services.chassis.clock import FixedClock
from tests.ports.booking.fakes.bookings import FakeBookings
from tests.ports.booking.fakes.inventory import FakeInventory
from tests.ports.booking.fakes.payments import FakePayments
from tests.ports.booking.fakes.scene import START, Turn, no_turn


class FakePatience:
    """A call with so many seconds left, which pass only while it waits."""

    def __init__(self, seconds: float | None = None, turn: Turn = no_turn) -> None:
        self.seconds = seconds
        self._turn = turn

    def remaining(self) -> float | None:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        if self.seconds is not None:
            self.seconds -= seconds
        await self._turn()


class OpenDoor:
    """Everybody may pass at once; knows how many are inside."""

    def __init__(self) -> None:
        self.inside = 0

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside, and the use cases' door to it."""

    clock: FixedClock
    bookings: FakeBookings
    inventory: FakeInventory
    payments: FakePayments
    ports: Ports
    wakes: list[None]


def new_world(
    *, capacity: int = 5, turn: Turn = no_turn, seconds: float | None = 10.0, door: Door | None = None
) -> World:
    """A world at START, in which nothing has happened."""
    clock = FixedClock(START)
    wakes: list[None] = []
    bookings, inventory = FakeBookings(turn), FakeInventory(clock, capacity, turn)
    payments = FakePayments(clock, turn)
    ports = Ports(
        clock=clock,
        bookings=bookings,
        inventory=inventory,
        payments=payments,
        patience=FakePatience(seconds, turn),
        door=door or OpenDoor(),
        times=Times(payment_window=timedelta(minutes=15)),
        wake=lambda: wakes.append(None),
    )
    return World(clock, bookings, inventory, payments, ports, wakes)
