"""Booking's schema, migration by migration."""
