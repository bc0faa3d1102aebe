"""Booking's outside world in memory: a store, an inventory and a payment service that keep the real ones' promises."""

from tests.ports.booking.fakes.bookings import FakeBookings
from tests.ports.booking.fakes.inventory import FakeInventory, priced
from tests.ports.booking.fakes.payments import DECLINES, NEEDS_ACTION, PAYS, UNKNOWN, FakePayments
from tests.ports.booking.fakes.scene import BEGIN, PRICE, RESOURCE, START, TENANT, VENDOR, turn
from tests.ports.booking.fakes.worlds import FakePatience, OpenDoor, World, new_world

__all__ = [
    "BEGIN",
    "DECLINES",
    "NEEDS_ACTION",
    "PAYS",
    "PRICE",
    "RESOURCE",
    "START",
    "TENANT",
    "UNKNOWN",
    "VENDOR",
    "FakeBookings",
    "FakeInventory",
    "FakePatience",
    "FakePayments",
    "OpenDoor",
    "World",
    "new_world",
    "priced",
    "turn",
]
