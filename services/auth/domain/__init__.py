"""What auth decides, in pure Python: people, codes, sessions, keys, tenants and their rules."""
