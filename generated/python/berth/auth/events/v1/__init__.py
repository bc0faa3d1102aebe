"""Generated: the Python stubs of berth.auth.events.v1."""
