"""Owns the measurements: what a booking costs, beside a bare skeleton and an honest monolith on the same machine."""
