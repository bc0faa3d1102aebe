"""Generated: the Python stubs of berth.inventory.events.v1."""
