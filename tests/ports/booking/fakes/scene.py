"""Where booking's fakes play: one tenant with one resource, and the turns that tasks take."""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from datetime import UTC, datetime, timedelta

from services.chassis.ids import new_id
from services.chassis.money import Money

START = datetime(2030, 1, 7, 9, 0, tzinfo=UTC)
TENANT = new_id("ten", at=START, shard=1)
VENDOR = new_id("vnd", at=START, shard=7)
RESOURCE = new_id("res", at=START, shard=7)
PRICE = Money("EUR", 15_001)
BEGIN = START + timedelta(days=30)

Turn = Callable[[], Awaitable[None]]


@types.coroutine
def turn() -> Generator[None]:
    """Where another task may go on: before and after each effect on the outside world."""
    yield


async def no_turn() -> None:
    """Go on at once."""
