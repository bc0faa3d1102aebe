"""Generated: the Python stubs of berth.inventory."""
