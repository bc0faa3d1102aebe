"""Ids: a prefix that says what it names, then a UUIDv7 in Crockford's base32, whose last ten bits are a shard."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

SHARD_BITS = 10
SHARDS = 1 << SHARD_BITS

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_LENGTH = 26  # 5 bits a letter hold a UUID's 128 bits
_TEXT = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)
_LETTERS = re.compile(r"[0-9a-hjkmnp-tv-z]{26}", re.ASCII)

_VERSION = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = ((1 << 12) - 1) << 64  # the twelve bits beside the version
_RANDOM_B = (1 << 62) - 1  # those beside the variant; the shard is their end


def new_id(prefix: str, *, at: datetime, shard: int | None = None) -> str:
    """A new id such as `bkg_01j9…`, sortable by `at`; `shard` is inherited from a parent, or drawn."""
    if shard is None:
        shard = secrets.randbelow(SHARDS)
    elif not 0 <= shard < SHARDS:
        raise ValueError(f"A shard lies between 0 and {SHARDS - 1}.")
    milliseconds = int(at.timestamp() * 1000)
    drawn = secrets.randbits(76)
    # 76 random bits fill the space around version and variant; shifting splits them into the two fields.
    number = (milliseconds << 80) | _VERSION | ((drawn << 2) & _RANDOM_A) | _VARIANT | (drawn & _RANDOM_B)
    number = (number >> SHARD_BITS << SHARD_BITS) | shard
    letters = [_ALPHABET[(number >> bits) & 31] for bits in range(5 * (_LENGTH - 1), -1, -5)]
    return f"{prefix}_{''.join(letters)}"


def shard_of(identifier: str) -> int:
    """The shard that an id carries; contracts let pass what only looks like one, and it need not exist."""
    text = identifier.rpartition("_")[2]
    if not _LETTERS.fullmatch(text):
        raise ValueError("This is not an id.")
    return _VALUES[text[-2]] << 5 | _VALUES[text[-1]]


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` is an id of this kind."""
    return text.startswith(f"{prefix}_") and _TEXT.fullmatch(text, len(prefix) + 1) is not None
