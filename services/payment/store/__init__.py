"""Payment's tables and the adapters that read and write them."""
