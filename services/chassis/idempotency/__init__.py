"""Idempotency keys: what a key is, and the table that remembers what each was first used for."""
