"""One partition's lane in a consumer: its events wait in order, one is worked on, and what is done is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Message, TopicPartition

FULL = 1_000  # messages waiting, above which no more are fetched
EMPTY_ENOUGH = 200  # messages waiting, below which fetching goes on


class Lane:
    """The events of one partition, from when they are fetched to when their offset is committed."""

    def __init__(self, topic: str, number: int, apply: Callable[[Message], Awaitable[None]]) -> None:
        self._topic = topic
        self._number = number
        self._apply = apply
        self._waiting: asyncio.Queue[Message | None] = asyncio.Queue()
        self._done: int | None = None  # the offset that follows the last message done
        self._committed: int | None = None
        self._paused = False
        self._stopping = False
        self._task = asyncio.create_task(self._work())

    def put(self, message: Message) -> None:
        """Add a message that was fetched."""
        self._waiting.put_nowait(message)

    def partition(self) -> TopicPartition:
        """The partition, in the client's terms."""
        from confluent_kafka import TopicPartition

        return TopicPartition(self._topic, self._number)

    def take_offset(self) -> TopicPartition | None:
        """The offset to commit, if it has moved since it was last taken; raises what broke the lane, if it broke."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()
        if self._done is None or self._done == self._committed:
            return None
        from confluent_kafka import TopicPartition

        self._committed = self._done
        return TopicPartition(self._topic, self._number, self._done)

    def should_pause(self) -> bool:
        """Whether fetching must pause; True once each time."""
        if not self._paused and self._waiting.qsize() > FULL:
            self._paused = True
            return True
        return False

    def should_resume(self) -> bool:
        """Whether fetching may go on again; True once each time."""
        if self._paused and self._waiting.qsize() < EMPTY_ENOUGH:
            self._paused = False
            return True
        return False

    async def stop(self, patience: float) -> None:
        """Let the event in hand finish, for a while, and leave the rest to whoever gets the partition next."""
        self._stopping = True
        self._waiting.put_nowait(None)
        await asyncio.wait({self._task}, timeout=patience)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _work(self) -> None:
        while (message := await self._waiting.get()) is not None and not self._stopping:
            await self._apply(message)
            self._done = (message.offset() or 0) + 1
