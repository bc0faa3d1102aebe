"""Inventory owns vendors, what they sell, its capacity and prices, quotes, and the holds that keep units."""
