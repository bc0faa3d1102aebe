"""The key table, on real PostgreSQL: one first, everybody else its replay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import MetaData

from services.chassis.clock import FixedClock
from services.chassis.db import Database, counting
from services.chassis.errors import IdempotencyInProgress, IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.idempotency.store import Claim, claim, find, idempotency_table, save_response
from services.chassis.retention import Retention
from tests.databases import Urls

AT = datetime(2030, 1, 1, tzinfo=UTC)
KEY = IdempotencyKey("ten_a", "usr_1", "/berth.booking.v1.BookingService/CreateBooking", "key-1", b"hash")


async def claimed(database: Database, key: IdempotencyKey, resource_id: str, *, hold: float = 0.0) -> Claim:
    async with database.transaction(key.tenant_id) as connection:
        found = await claim(connection, key, resource_id, AT)
        await asyncio.sleep(hold)
        return found


async def test_the_first_is_first_and_the_same_again_finds_what_it_made(database: Database) -> None:
    assert await claimed(database, KEY, "bkg_1") == Claim("bkg_1", first=True)
    assert await claimed(database, KEY, "bkg_2") == Claim("bkg_1", first=False)
    async with database.transaction("ten_a") as connection:
        await save_response(connection, KEY, b"answer")
    assert await claimed(database, KEY, "bkg_3") == Claim("bkg_1", first=False, response=b"answer")


async def test_another_request_under_the_same_key_is_refused(database: Database) -> None:
    await claimed(database, KEY, "bkg_1")
    with pytest.raises(IdempotencyKeyReused):
        await claimed(database, replace(KEY, request_hash=b"other"), "bkg_2")


@pytest.mark.parametrize("field", ["tenant_id", "principal", "method", "key"])
async def test_keys_of_others_are_other_keys(database: Database, field: str) -> None:
    await claimed(database, KEY, "bkg_1")
    other = replace(KEY, **{field: "other"}, request_hash=b"other")
    assert await claimed(database, other, "bkg_2") == Claim("bkg_2", first=True)


async def test_of_fifty_racers_one_is_first_and_all_get_its_resource(database: Database) -> None:
    claims = await asyncio.gather(*(claimed(database, KEY, f"bkg_{number}") for number in range(50)))
    assert sum(found.first for found in claims) == 1
    assert len({found.resource_id for found in claims}) == 1


async def test_when_the_first_rolls_back_the_waiting_one_takes_over(database: Database) -> None:
    holds = asyncio.Event()

    async def fails() -> None:
        async with database.transaction("ten_a") as connection:
            await claim(connection, KEY, "bkg_1", AT)
            holds.set()
            await asyncio.sleep(0.2)
            raise RuntimeError

    async def waits() -> Claim:
        await holds.wait()
        return await claimed(database, KEY, "bkg_2")

    outcome = await asyncio.gather(fails(), waits(), return_exceptions=True)
    assert outcome[1] == Claim("bkg_2", first=True)


async def test_who_has_no_time_to_wait_is_told_that_the_first_is_running(urls: Urls, database: Database) -> None:
    hurried = Database(urls.app, remaining=lambda: 0.2)
    await hurried.open()
    first = asyncio.create_task(claimed(database, KEY, "bkg_1", hold=1.0))
    await asyncio.sleep(0.1)
    with pytest.raises(IdempotencyInProgress) as refused:
        await claimed(hurried, KEY, "bkg_2")
    assert refused.value.retry_after is not None
    assert (await first).first
    await hurried.close()


async def test_a_first_claim_is_one_statement_and_a_replay_two(database: Database) -> None:
    with counting(database) as first:
        await claimed(database, KEY, "bkg_1")
    with counting(database) as replay:
        await claimed(database, KEY, "bkg_1")
    assert (len(first.statements), len(replay.statements)) == (1, 2)


async def test_old_keys_are_forgotten_but_not_before_their_time(database: Database, worker: Database) -> None:
    await claimed(database, KEY, "bkg_1")
    clock = FixedClock(AT + timedelta(hours=24))
    metadata = MetaData()
    idempotency_table(metadata)
    assert await Retention(worker, clock, metadata).run_once() == {"idempotency": 0}
    async with database.transaction("ten_a") as connection:
        assert await find(connection, KEY) is not None
    clock.advance(timedelta(hours=25))
    assert await Retention(worker, clock, metadata).run_once() == {"idempotency": 1}
    assert await claimed(database, KEY, "bkg_2") == Claim("bkg_2", first=True)
