"""Generated: the Python stubs of berth.booking.events."""
