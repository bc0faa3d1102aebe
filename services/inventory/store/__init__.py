"""Inventory's PostgreSQL: tables, repositories, and the statements that decide holds."""
