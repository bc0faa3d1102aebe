"""The versions of auth's schema, in the order of their numbers."""
