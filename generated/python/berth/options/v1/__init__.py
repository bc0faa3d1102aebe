"""Generated: the Python stubs of berth.options.v1."""
