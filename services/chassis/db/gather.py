"""Gathers: while one statement of a kind runs, the calls that come wait and go together in the next one.

A busy service so pays for one round trip, one wake-up and one commit where its calls would have paid for each. Nobody
waits for company: a call that finds none of its kind running starts at once and alone.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg

from services.chassis.db.engine import Database
from services.chassis.errors import Overloaded

MAX_TOGETHER = 16  # calls in one statement: its text is kept once for each number
MAX_WAITING = 2_000  # more could not be answered in time
PATIENCE_SECONDS = 0.05  # a statement that runs longer, as behind a lock, is waited for no more by others

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Question, Answer]):
    question: Question
    answer: asyncio.Future[Answer]


def _always(_question: object) -> Hashable:
    return None


class Gather(Generic[Question, Answer]):
    """Brings questions to `send`, which answers each in its place, with its answer or the error that is its own.

    Where the database refuses what went together, each goes again alone, so that an error is nobody's but its own.
    Only what is `alike` goes together, and of what has the same `identity` only the first: a second learns from the
    next statement what the first has got.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        *,
        together: int,
        alike: Callable[[Question], Hashable] = _always,
        identity: Callable[[Question], Hashable] = id,
    ) -> None:
        self._send = send
        self._together = together
        self._alike = alike
        self._identity = identity
        self._waiting: deque[_Waiting[Question, Answer]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._ahead: asyncio.Task[None] | None = None
        """The one that others wait for."""

    async def ask(self, question: Question) -> Answer:
        """The question's answer; raises what the answer is where it is an error."""
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded
        one: _Waiting[Question, Answer] = _Waiting(question, asyncio.get_running_loop().create_future())
        self._waiting.append(one)
        if self._ahead is None:
            self._start()
        return await one.answer

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        # What is sent belongs to no single call: it must not inherit the deadline of the one that happens to start it.
        task = self._ahead = loop.create_task(self._drain(), context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        try:
            while self._ahead is me and (batch := self._take()):
                overtaken = loop.call_later(PATIENCE_SECONDS, self._overtake)
                try:
                    await self._answer(batch)
                finally:
                    overtaken.cancel()
        finally:
            if self._ahead is me:
                self._ahead = None

    def _overtake(self) -> None:
        self._ahead = None
        if self._waiting:
            self._start()

    def _take(self) -> list[_Waiting[Question, Answer]]:
        batch: list[_Waiting[Question, Answer]] = []
        left: list[_Waiting[Question, Answer]] = []
        seen: set[Hashable] = set()
        while self._waiting and len(batch) < self._together:
            one = self._waiting.popleft()
            # Whose caller has given up is never sent: its future was cancelled with the caller.
            if one.answer.done():
                continue
            identity = self._identity(one.question)
            if identity in seen or (batch and self._alike(one.question) != self._alike(batch[0].question)):
                left.append(one)
            else:
                seen.add(identity)
                batch.append(one)
        self._waiting.extendleft(reversed(left))
        return batch

    async def _answer(self, batch: Sequence[_Waiting[Question, Answer]]) -> None:
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._send([one.question for one in batch])
            if len(answers) != len(batch):
                raise AssertionError(f"{len(batch)} questions got {len(answers)} answers.")
        except psycopg.Error as error:
            if len(batch) > 1:
                # It is some one's, and took all back: each learns alone whether it is its own.
                for one in batch:
                    if not one.answer.done():
                        await self._answer([one])
                return
            answers = [error]
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to those who wait for it
            answers = [error] * len(batch)
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)


class HotStatement:
    """A statement of one row at most that is a transaction by itself, gathered with others of its kind.

    Those that go together are ordered by their keys, which name what they lock; so two processes' batches do not
    deadlock. They are committed together.
    """

    def __init__(self, database: Database, text: str) -> None:
        self._database = database
        self._text = text
        self._texts: dict[int, str] = {}
        self._gather: Gather[tuple[str, Sequence[object]], Any | None] = Gather(self._send, together=MAX_TOGETHER)

    async def fetch_one(self, key: str, parameters: Sequence[object]) -> Any | None:
        """The row, as a named tuple; None where there is none."""
        return await self._database.in_time(self._gather.ask((key, parameters)))

    async def _send(self, asked: Sequence[tuple[str, Sequence[object]]]) -> Sequence[Any | None]:
        order = sorted(range(len(asked)), key=lambda place: asked[place][0])
        parameters = [value for place in order for value in asked[place][1]]
        rows = await self._database.fetch_numbered(self._text_for(len(asked)), parameters)
        answers: list[Any | None] = [None] * len(asked)
        for row in rows:
            answers[order[row.place_in_batch]] = row
        return answers

    def _text_for(self, count: int) -> str:
        if count not in self._texts:
            numbers = itertools.count(1)
            parts = (
                f"SELECT {place} AS place_in_batch, one.* FROM ({_numbered(self._text, numbers)}) AS one"  # noqa: S608 - of constants
                for place in range(count)
            )
            self._texts[count] = " UNION ALL ".join(parts)
        return self._texts[count]


def _numbered(text: str, numbers: Iterator[int]) -> str:
    first, *others = text.split("%s")
    return "".join((first, *(f"${next(numbers)}{other}" for other in others)))
