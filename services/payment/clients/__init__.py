"""The payment provider, behind payment's port."""
