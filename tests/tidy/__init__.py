"""The rules of the house, proved by breaking each of them in a copy of the checkout."""
