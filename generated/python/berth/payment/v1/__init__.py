"""Generated: the Python stubs of berth.payment.v1."""
