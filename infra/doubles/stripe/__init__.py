"""Owns the stand-in for Stripe: its documented API as far as Berth uses it, a ledger to audit, and scripted faults."""
