"""Ids sort by time, carry their shard, and are told from everything else."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.ids import SHARDS, is_id, new_id, shard_of

CONTRACT = re.compile(r"^bkg_[0-9a-hjkmnp-tv-z]{26}$")
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone
LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


def number_of(identifier: str) -> int:
    number = 0
    for letter in identifier.partition("_")[2]:
        number = number * 32 + LETTERS.index(letter)
    return number


@given(INSTANTS, st.integers(0, SHARDS - 1))
def test_an_id_is_a_version_7_uuid_with_its_instant_and_shard(at: datetime, shard: int) -> None:
    identifier = new_id("bkg", at=at, shard=shard)
    assert CONTRACT.match(identifier)
    assert shard_of(identifier) == shard
    number = number_of(identifier)
    found = uuid.UUID(int=number)
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert number >> 80 == int(at.timestamp() * 1000)


@given(INSTANTS, st.integers(1, 10**9))
def test_ids_sort_by_their_instant(at: datetime, milliseconds: int) -> None:
    assert new_id("bkg", at=at) < new_id("bkg", at=at + timedelta(milliseconds=milliseconds))


def test_ids_of_one_instant_and_shard_differ() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({new_id("bkg", at=at, shard=1) for _ in range(10_000)}) == 10_000


def test_shards_are_drawn_from_all() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert len({shard_of(new_id("vnd", at=at)) for _ in range(10_000)}) > 1000


@pytest.mark.parametrize("shard", [-1, SHARDS])
def test_a_shard_that_there_is_none_of(shard: int) -> None:
    with pytest.raises(ValueError, match="shard"):
        new_id("bkg", at=datetime(2026, 1, 1, tzinfo=UTC), shard=shard)


ID = "bkg_01kdvdna00fa5aqdr1pcb066t8"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bkg_",
        ID[4:],
        ID[:-1],
        f"{ID}0",
        ID.upper(),
        ID.replace("bkg", "hld"),
        f"x{ID}",
        f"{ID}\n",
        "bkg_" + "8" * 26,
        "bkg_" + "u" * 26,
    ],
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id("bkg", text)


def test_what_is_one() -> None:
    assert is_id("bkg", ID)


@pytest.mark.parametrize("text", ["", "bkg_1", "nothing"])
def test_what_is_no_id_has_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="not an id"):
        shard_of(text)


def test_what_contracts_take_for_an_id_has_a_shard() -> None:
    assert shard_of("hld_" + "z" * 26) == SHARDS - 1
