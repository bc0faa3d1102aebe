"""What booking's unit tests do again and again: book as the customer, and let the worker run."""

from __future__ import annotations

from services.booking.domain import Booking, Guest, Item, Order
from services.booking.usecases import CreateBooking, View, create_booking, resume
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id
from services.chassis.principal import Principal
from tests.ports.booking.fakes import RESOURCE, START, TENANT, World

CUSTOMER = Principal("user", TENANT, new_id("usr", at=START, shard=3))
GUEST = Guest("Cara", "Customer", "cara@example.org", "+49401234567")


class Killed(BaseException):
    """kill -9, where a fake has it for trouble."""


async def book(world: World, token: str, key: IdempotencyKey | None = None) -> View:
    command = CreateBooking(Order(items=(Item(RESOURCE),)), GUEST, "credit_card", token)
    return await create_booking(world.ports, CUSTOMER, command, key)


async def run_worker(world: World) -> list[Booking]:
    """One round over everything that is due."""
    now = world.clock.now()
    due = await world.bookings.take_due(now, now + world.ports.times.lease, 100)
    return [await resume(world.ports, booking) for booking in due]
