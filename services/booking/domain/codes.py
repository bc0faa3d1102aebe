"""Confirmation codes: what guests read out and vendors type."""

from __future__ import annotations

import secrets

CODE_LENGTH = 9
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # without what people confuse when they read it out


def new_code() -> str:
    """A confirmation code; that no two of a tenant are the same is the database's to say."""
    drawn = secrets.randbelow(len(CODE_ALPHABET) ** CODE_LENGTH)
    letters = []
    for _ in range(CODE_LENGTH):
        drawn, index = divmod(drawn, len(CODE_ALPHABET))
        letters.append(CODE_ALPHABET[index])
    return "".join(letters)
