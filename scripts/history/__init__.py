"""Owns the history checker: what concurrent clients saw, and whether any order of single steps explains it."""
