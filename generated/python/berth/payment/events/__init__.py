"""Generated: the Python stubs of berth.payment.events."""
