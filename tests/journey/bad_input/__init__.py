"""What nobody should send, sent: a clear error each time, and nothing half-written."""
