"""Inventory's rules, in pure Python: time, prices, what can be booked, and how holds move."""
