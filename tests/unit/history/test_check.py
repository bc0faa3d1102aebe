"""Owns the proof that the history checker accepts what can have happened and refuses planted impossibilities."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.history.check import Verdict, check
from scripts.history.record import History, Kind, Operation, Outcome, read


def take(
    name: str, start: float, end: float, outcome: Outcome = Outcome.OK, cells: str = "a", quantity: int = 1
) -> Operation:
    return Operation(0, Kind.TAKE, name, tuple(cells), quantity, start, end, outcome)


def free(name: str, start: float, end: float, outcome: Outcome = Outcome.OK, cells: str = "a") -> Operation:
    return Operation(0, Kind.FREE, name, tuple(cells), 1, start, end, outcome)


POSSIBLE = {
    "one winner, one loser": [take("x", 0, 2), take("y", 0, 2, Outcome.REFUSED)],
    "free in between": [take("x", 0, 1), free("x", 2, 3), take("y", 4, 5)],
    "overlapping free and take": [take("x", 0, 1), free("x", 2, 5), take("y", 3, 4)],
    "a refusal while a free runs": [take("x", 0, 1), free("x", 2, 5), take("y", 3, 4, Outcome.REFUSED)],
    "an unknown take explains a refusal": [take("x", 0, 1, Outcome.UNKNOWN), take("y", 2, 3, Outcome.REFUSED)],
    "an unknown take may never happen": [take("x", 0, 1, Outcome.UNKNOWN), take("y", 2, 3)],
    "a failed take kept its unit for a while": [take("x", 0, 5, Outcome.FAILED), take("y", 1, 2, Outcome.REFUSED)],
    "a failed take may be over before": [take("x", 0, 5, Outcome.FAILED), take("y", 1, 2)],
    "an unknown free may come late": [
        take("x", 0, 1),
        free("x", 2, 3, Outcome.UNKNOWN),
        take("y", 4, 5, Outcome.REFUSED),
        take("z", 6, 7),
    ],
    "two cells, all or none": [take("x", 0, 1, cells="ab"), take("y", 2, 3, Outcome.REFUSED, cells="bc")],
}

IMPOSSIBLE = {
    "the last unit was sold twice": [take("x", 0, 1), take("y", 2, 3)],
    "sold twice by overlapping calls": [take("x", 0, 2), take("y", 1, 3)],
    "nobody won": [take("x", 0, 2, Outcome.REFUSED), take("y", 0, 2, Outcome.REFUSED)],
    "refused though free again": [take("x", 0, 1), free("x", 2, 3), take("y", 4, 5, Outcome.REFUSED)],
    "refused before the winner asked": [take("y", 0, 1, Outcome.REFUSED), take("x", 2, 3)],
    "sold again before it was freed": [take("x", 0, 1), take("y", 2, 3), free("x", 4, 5)],
    "sold in one of its two cells": [take("x", 0, 1, cells="ab"), take("y", 2, 3, cells="b")],
    "refused, kept by a failed take that was over": [
        take("x", 0, 1, Outcome.FAILED),
        take("y", 2, 3, Outcome.REFUSED),
    ],
    "freed but never taken": [free("x", 0, 1)],
    "one name, two takes": [take("x", 0, 1), free("x", 2, 3), take("x", 4, 5)],
}


@pytest.mark.parametrize("history", POSSIBLE.values(), ids=POSSIBLE.keys())
def test_possible_histories_are_explained(history: list[Operation]) -> None:
    assert check(history, dict.fromkeys("abc", 1)).verdict is Verdict.EXPLAINED


@pytest.mark.parametrize("history", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_planted_impossibilities_are_refused(history: list[Operation]) -> None:
    finding = check(history, dict.fromkeys("abc", 1))
    assert finding.verdict is Verdict.IMPOSSIBLE
    assert finding.detail


@pytest.mark.parametrize(("winners", "verdict"), [(4, "impossible"), (5, "explained"), (6, "impossible")])
def test_a_hundred_clients_for_five_units(winners: int, verdict: str) -> None:
    calls = [take(f"c{n}", 0, 9, Outcome.OK if n < winners else Outcome.REFUSED) for n in range(100)]
    assert check(calls, {"a": 5}).verdict == verdict


def test_quantities_count() -> None:
    assert check([take("x", 0, 1, quantity=2), take("y", 2, 3, quantity=2)], {"a": 3}).verdict is Verdict.IMPOSSIBLE
    assert check([take("x", 0, 1, quantity=2), take("y", 2, 3, quantity=1)], {"a": 3}).verdict is Verdict.EXPLAINED


@settings(max_examples=200)
@given(st.data())
def test_every_history_that_a_real_counter_makes_is_explained(data: st.DataObject) -> None:
    """Simulates a correct counter whose steps lie inside overlapping calls, and a wrong one that sells one too many."""
    units = data.draw(st.integers(1, 3))
    used = 0
    calls: list[Operation] = []
    live: list[str] = []
    for number in range(data.draw(st.integers(1, 20))):
        step = float(number)
        before, behind = data.draw(st.floats(0, 4)), data.draw(st.floats(0, 4))
        frees: bool = data.draw(st.booleans())
        if live and frees:
            used -= 1
            calls.append(free(live.pop(), step, step + behind))
        elif used < units:
            used += 1
            live.append(f"c{number}")
            calls.append(take(f"c{number}", step - before, step + behind))
        else:
            calls.append(take(f"c{number}", step - before, step + behind, Outcome.REFUSED))
    assert check(calls, {"a": units}).verdict is Verdict.EXPLAINED
    end = max(call.answered for call in calls) + 1
    excess = [take(f"e{n}", end + n, end + n) for n in range(units - used + 1)]
    assert check([*calls, *excess], {"a": units}).verdict is Verdict.IMPOSSIBLE


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    ticks = iter(range(10))
    history = History(clock=lambda: float(next(ticks)))
    with history.call(1, Kind.TAKE, "x", ["b", "a"]) as answer:
        answer.outcome = Outcome.OK
    with pytest.raises(TimeoutError), history.call(2, Kind.TAKE, "y", ["a"]):
        raise TimeoutError
    history.write(tmp_path / "history.jsonl")
    operations = read(tmp_path / "history.jsonl")
    assert operations == history.operations()
    assert [operation.outcome for operation in operations] == [Outcome.OK, Outcome.UNKNOWN]
