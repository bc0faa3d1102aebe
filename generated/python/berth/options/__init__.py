"""Generated: the Python stubs of berth.options."""
