"""The supervisor's decisions without a process: pauses, the order of stopping, how an end is told."""

from __future__ import annotations

import pytest

from infra.local.part import Part, backoff, ended
from infra.local.supervisor import waves


async def _fine() -> str | None:
    return None


def _part(name: str, after: tuple[str, ...] = (), prepare_after: tuple[str, ...] = ()) -> Part:
    return Part(name=name, url=lambda: "", refusal=_fine, after=after, prepare_after=prepare_after)


def test_pauses_double_up_to_a_quarter_of_a_minute() -> None:
    assert [backoff(deaths) for deaths in range(8)] == [0.5, 0.5, 1, 2, 4, 8, 15, 15]
    assert backoff(10_000) == 15


@pytest.mark.parametrize(
    ("code", "says"),
    [(0, "exit code 0"), (3, "exit code 3"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200")],
)
def test_an_end_is_told_in_words(code: int, says: str) -> None:
    assert ended(code) == says


def test_what_nobody_needs_stops_first() -> None:
    parts = [
        _part("postgres"),
        _part("kafka"),
        _part("auth", after=("kafka",), prepare_after=("postgres",)),
        _part("auth-2", prepare_after=("auth",)),
        _part("gateway", after=("auth",)),
    ]
    assert waves(parts) == [["auth-2", "gateway"], ["auth"], ["postgres", "kafka"]]


def test_parts_that_need_each_other_still_stop() -> None:
    assert waves([_part("a", after=("b",)), _part("b", after=("a",))]) == [["a", "b"]]
