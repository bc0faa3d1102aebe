"""Generated: the Python stubs of buf.validate."""
