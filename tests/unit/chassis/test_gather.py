"""Questions that come while one is being answered go together in the next, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from services.chassis.db import Gather, gather
from services.chassis.errors import Overloaded
from services.chassis.rpc import context
from tests.unit.chassis.turns import settle


class Oracle:
    """Answers when told to, and remembers what came together."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.remaining: list[float | None] = []
        self.gate = asyncio.Event()
        self.fault: Exception | None = None

    async def answer(self, questions: Sequence[str]) -> list[str | Exception]:
        self.batches.append(list(questions))
        self.remaining.append(context.remaining())
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return [KeyError(question) if question.startswith("bad") else question.upper() for question in questions]


async def asked(asking: Gather[str, str], *questions: str) -> list[asyncio.Task[str]]:
    """The first question on its way, and the others behind it."""
    tasks = []
    for question in questions:
        tasks.append(asyncio.create_task(asking.ask(question)))
        await settle()
    return tasks


async def test_who_comes_meanwhile_goes_together() -> None:
    oracle = Oracle()
    asking = Gather(oracle.answer, together=8)
    tasks = await asked(asking, "a", "b", "bad", "c")
    assert oracle.batches == [["a"]]
    oracle.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert oracle.batches == [["a"], ["b", "bad", "c"]]
    assert [results[0], results[1], results[3]] == ["A", "B", "C"]
    assert isinstance(results[2], KeyError)
    assert await asking.ask("d") == "D"
    assert oracle.batches[2:] == [["d"]]


async def test_only_so_many_and_only_what_is_alike_go_together() -> None:
    oracle = Oracle()
    asking = Gather(oracle.answer, together=2, alike=lambda question: question[0])
    tasks = await asked(asking, "a", "b1", "c1", "b2", "b3", "c2")
    oracle.gate.set()
    await asyncio.gather(*tasks)
    assert oracle.batches == [["a"], ["b1", "b2"], ["c1", "c2"], ["b3"]]


async def test_the_same_question_twice_is_never_in_one_statement() -> None:
    oracle = Oracle()
    asking = Gather(oracle.answer, together=8, identity=lambda question: question[0])
    tasks = await asked(asking, "a", "b1", "b2", "c1", "b3")
    oracle.gate.set()
    await asyncio.gather(*tasks)
    assert oracle.batches == [["a"], ["b1", "c1"], ["b2"], ["b3"]]


async def test_who_gives_up_while_waiting_is_never_sent() -> None:
    oracle = Oracle()
    asking = Gather(oracle.answer, together=8)
    tasks = await asked(asking, "a", "b", "c")
    tasks[1].cancel()
    tasks[0].cancel()  # its question is out: the answer comes for nobody
    await settle()
    oracle.gate.set()
    assert await tasks[2] == "C"
    assert oracle.batches == [["a"], ["c"]]


async def test_a_fault_belongs_to_those_who_waited_for_it() -> None:
    oracle = Oracle()
    oracle.fault = ConnectionError("gone")
    asking = Gather(oracle.answer, together=8)
    tasks = await asked(asking, "a", "b", "c")
    oracle.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ConnectionError) for result in results)
    oracle.fault = None
    assert await asking.ask("d") == "D"


async def test_nobody_waits_long_for_a_statement_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "PATIENCE_SECONDS", 0.01)
    oracle = Oracle()
    asking = Gather(oracle.answer, together=8)
    tasks = await asked(asking, "a", "b")
    await asyncio.sleep(0.02)
    assert oracle.batches == [["a"], ["b"]]
    oracle.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B"]


async def test_what_is_sent_has_no_callers_deadline() -> None:
    oracle = Oracle()
    oracle.gate.set()
    with context.background("test", tenant_id="ten", seconds=1.0):
        assert await Gather(oracle.answer, together=8).ask("a") == "A"
    assert oracle.remaining == [None]


async def test_the_line_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MAX_WAITING", 2)
    oracle = Oracle()
    tasks = await asked(Gather(oracle.answer, together=1), "a", "b", "c", "d")
    oracle.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:3] == ["A", "B", "C"]
    assert isinstance(results[3], Overloaded)


async def test_what_the_database_refuses_goes_again_one_by_one() -> None:
    oracle = Oracle()

    async def strict(questions: Sequence[str]) -> list[str | Exception]:
        answers = await oracle.answer(questions)
        if "broken" in questions:
            raise psycopg.errors.CheckViolation
        return answers

    tasks = await asked(Gather(strict, together=8), "a", "b", "broken", "gone", "bad")
    tasks[3].cancel()
    oracle.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:2] == ["A", "B"]
    assert [type(result) for result in results[2:]] == [
        psycopg.errors.CheckViolation,
        asyncio.CancelledError,
        KeyError,
    ]
    assert oracle.batches == [["a"], ["b", "broken", "bad"], ["b"], ["broken"], ["bad"]]


async def test_answers_that_do_not_fit_are_everybodys_error_and_the_line_goes_on() -> None:
    async def forgetful(questions: Sequence[str]) -> list[str | Exception]:
        return ["A"] if "a" in questions else []

    asking = Gather(forgetful, together=8)
    with pytest.raises(AssertionError, match="1 questions got 0 answers"):
        await asking.ask("b")
    assert await asking.ask("a") == "A"
