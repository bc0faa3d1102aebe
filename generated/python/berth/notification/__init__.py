"""Generated: the Python stubs of berth.notification."""
