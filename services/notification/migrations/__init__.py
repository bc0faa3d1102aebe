"""Notification's schema, step by step."""
