"""The schema that the chassis's own tests use."""
