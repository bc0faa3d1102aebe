"""Page sizes and page tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.chassis.errors import InvalidField, PageTokenInvalid
from services.chassis.paging import MAX_TOKEN_LENGTH, decode, encode, page_size

cursors = some.dictionaries(some.text(max_size=20), some.text(max_size=40) | some.integers() | some.none(), max_size=4)


@pytest.mark.parametrize(("requested", "used"), [(0, 20), (1, 1), (100, 100), (101, 100), (10**9, 100)])
def test_sizes_are_coerced(requested: int, used: int) -> None:
    assert page_size(requested, default=20, maximum=100) == used


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidField) as refused:
        page_size(-1, default=20, maximum=100)
    assert [violation.field for violation in refused.value.violations] == ["page_size"]


@given(cursors, some.binary())
def test_a_token_brings_its_cursor_back(cursor: dict[str, str | int | None], arguments: bytes) -> None:
    token = encode(cursor, arguments)
    assert token.isascii()
    assert decode(token, arguments) == cursor


def test_a_token_of_other_arguments_is_refused() -> None:
    with pytest.raises(PageTokenInvalid):
        decode(encode({"id": "bkg_1"}, b"status=CONFIRMED"), b"status=CANCELLED")


@given(some.integers(min_value=0), some.integers(min_value=1, max_value=255))
def test_a_changed_token_is_refused(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(encode({"id": "bkg_1", "n": 7}, b"") + "=="))
    raw[place % len(raw)] ^= change
    with pytest.raises(PageTokenInvalid):
        decode(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), b"")


@pytest.mark.parametrize("token", ["x", "not a token", "ünïcode", "AAAA", "=", "A" * (MAX_TOKEN_LENGTH + 4), "\x00"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        decode(token, b"")
