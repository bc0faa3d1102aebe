"""Generated: the Python stubs of berth.inventory.v1."""
