"""Owns the stand-ins for outside vendors, each a process that speaks the vendor's documented protocol."""
