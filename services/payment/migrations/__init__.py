"""Payment's schema, step by step."""
