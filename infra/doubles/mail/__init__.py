"""Owns the mail catcher: an SMTP server that delivers to nobody and shows what it caught as a page and as JSON."""
