"""Generated: the Python stubs of berth.type.v1."""
