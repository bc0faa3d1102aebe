"""Generated: the Python stubs of berth.auth.v1."""
