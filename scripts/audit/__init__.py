"""Owns the auditor: an independent program that reads every database and the provider, and counts broken promises."""
