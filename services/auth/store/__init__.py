"""Where auth keeps things: its tables, and what must be sealed, hashed or signed before it is kept or shown."""
