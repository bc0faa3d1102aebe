"""Inventory's schema, step by step."""
