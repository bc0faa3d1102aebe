"""Booking's tables and the adapter that reads and writes them."""

from services.booking.store.bookings import StoredBookings
from services.booking.store.tables import METADATA

__all__ = ["METADATA", "StoredBookings"]
