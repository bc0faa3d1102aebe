"""Owns the proof that the bench's own arithmetic is right: percentiles, errors, and who used the processor."""

from __future__ import annotations

import os
import time

import pytest

from scripts.bench import cpu
from scripts.bench.load import Result, outcome
from scripts.bench.pace import Look, Window, watched, windows


def test_percentiles_and_errors() -> None:
    result = Result(2.0, [float(n) for n in range(1, 101)], {"201": 97, "409": 2, "TimeoutError": 1}, {}, 0.1)
    assert (result.percentile(0.5), result.percentile(0.99), result.percentile(1.0)) == (51.0, 100.0, 100.0)
    assert (result.errors, result.per_second) == (3, 50.0)


def test_an_answer_says_how_the_booking_stands_or_why_there_is_none() -> None:
    refusal = {"code": 8, "details": [{"servingData": ""}, {"reason": "OVERLOADED"}], "message": "Later."}
    assert outcome(201, {"status": "PENDING"}) == "PENDING"
    assert outcome(429, refusal) == "429 OVERLOADED"
    assert outcome(502, {"detail": "?"}) == "502 without a reason"


def test_no_answers_have_no_percentile() -> None:
    assert Result(0.0, [], {}, {}, 0.0).percentile(0.95) == 0.0


def test_a_busy_process_is_seen_and_a_missing_one_counts_nothing() -> None:
    parts = {"me": [os.getpid()], "nobody": [2**22 + 1]}
    before = cpu.read(parts)
    sum(range(6_000_000))
    after = cpu.read(parts)
    used = cpu.spent(before, after)
    assert used["me"] > 0
    assert used["nobody"] == 0
    assert after["me"].pss_bytes > 5_000_000


def test_a_window_has_the_answers_and_looks_of_its_time() -> None:
    look = Look()
    look.take()
    ((at, taken),) = look.seen
    answers = [(0.0, 10.0), (9.9, 30.0), (9.0, 20.0), (10.0, 5.0)]
    first, second = windows(at - 1, answers, look, every=10.0)
    assert first == Window(0.0, 20.0, 30.0, taken)
    assert second == Window(10.0, 5.0, 5.0, 0.0)
    assert windows(at, [], look, every=10.0) == []


def test_the_machine_is_looked_at_while_a_load_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.bench.pace.PAUSE_SECONDS", 0.01)
    with watched() as look:
        time.sleep(0.3)
    assert len(look.seen) > 1
    assert all(taken > 0 for _, taken in look.seen)
