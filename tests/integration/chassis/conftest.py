"""The chassis's own database and events, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from itertools import count

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.db import Database
from services.chassis.outbox import OutboxEvent
from tests.databases import NewDatabase, Urls

MIGRATIONS = "tests.integration.chassis.migrations"
EVENT_TYPE = "google.protobuf.StringValue"
AT = datetime(2030, 1, 1, tzinfo=UTC)
_numbers = count(1)

MakeEvent = Callable[..., OutboxEvent]
Run = Callable[[asyncio.Event], Coroutine[object, object, None]]


@pytest.fixture
def urls(new_database: NewDatabase) -> Urls:
    return new_database("chassis", MIGRATIONS)


@pytest.fixture
async def database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.app)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def worker(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.worker, pool_size=4)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def make_event() -> MakeEvent:
    def make(topic: str, text: str, *, key: str = "k", version: int = 1, kind: str = EVENT_TYPE) -> OutboxEvent:
        return OutboxEvent(
            event_id=f"evt_{next(_numbers)}",
            tenant_id="ten_a",
            topic=topic,
            key=key,
            type=kind,
            payload=StringValue(value=text).SerializeToString(),
            version=version,
            time=AT,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )

    return make


class Running:
    """A background loop under test, stopped at the end."""

    def __init__(self, run: Run) -> None:
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] = asyncio.create_task(run(self.stop))

    async def end(self) -> None:
        self.stop.set()
        await asyncio.wait_for(self.task, 20)


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Run], Running]]:
    started: list[Running] = []

    def begin(run: Run) -> Running:
        started.append(Running(run))
        return started[-1]

    yield begin
    for running in started:
        await running.end()
