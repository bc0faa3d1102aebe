"""The database door: tenants, round trips, retries, deadlines and outages, on real PostgreSQL."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.chassis.db import Database, counting, pool
from services.chassis.db.engine import POOL_SIZE
from services.chassis.errors import DeadlineExceeded, DependencyUnavailable
from tests.databases import Server, Urls


async def put(database: Database, tenant_id: str, thing_id: str) -> None:
    async with database.transaction(tenant_id) as connection:
        await connection.execute(
            text("INSERT INTO thing VALUES (:thing_id, :tenant_id, 1)"), {"thing_id": thing_id, "tenant_id": tenant_id}
        )


async def things(database: Database, tenant_id: str) -> set[str]:
    async with database.transaction(tenant_id) as connection:
        return set((await connection.execute(text("SELECT thing_id FROM thing"))).scalars())


async def server_process(database: Database) -> int:
    row = await database.fetch_one("SELECT pg_backend_pid() AS pid, pg_sleep(0.05)")
    assert row is not None
    return int(row.pid)


async def test_a_tenant_sees_its_own_rows_only(database: Database, worker: Database) -> None:
    await put(database, "ten_a", "1")
    await put(database, "ten_b", "2")
    assert await things(database, "ten_a") == {"1"}
    assert await things(database, "ten_b") == {"2"}
    assert await things(database, "ten_a' OR true --") == set()
    async with database.system() as connection:
        assert (await connection.execute(text("SELECT thing_id FROM thing"))).all() == []
    assert await database.fetch_all("SELECT thing_id FROM thing") == []
    assert {row.thing_id for row in await worker.fetch_all("SELECT thing_id FROM thing")} == {"1", "2"}


async def test_a_row_of_another_tenant_cannot_be_written(database: Database) -> None:
    with pytest.raises(Exception, match="row-level security"):
        async with database.transaction("ten_a") as connection:
            await connection.execute(text("INSERT INTO thing VALUES ('1', 'ten_b', 1)"))


async def test_a_transaction_needs_a_tenant(database: Database) -> None:
    with pytest.raises(ValueError, match="tenant"):
        database.transaction("")


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail_midway() -> None:
        async with database.transaction("ten_a") as connection:
            await connection.execute(text("INSERT INTO thing VALUES ('1', 'ten_a', 1)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_midway()
    assert await things(database, "ten_a") == set()


async def test_the_databases_own_refusals_reach_the_repository(database: Database) -> None:
    with pytest.raises(IntegrityError, match="thing_size"):
        async with database.transaction("ten_a") as connection:
            await connection.execute(text("INSERT INTO thing VALUES ('1', 'ten_a', 0)"))


async def test_a_transaction_costs_two_round_trips_more_than_its_statements(database: Database) -> None:
    with counting(database) as counter:
        await put(database, "ten_a", "1")
    assert len(counter.statements) == 1
    assert counter.round_trips == 3


async def test_a_hot_statement_is_one_round_trip(database: Database) -> None:
    with counting(database) as counter:
        row = await database.fetch_one("SELECT %s::int AS one, %s::text AS two", (1, "b"))
    assert row is not None
    assert (row.one, row.two) == (1, "b")
    assert counter.round_trips == 1
    assert await database.fetch_one("SELECT 1 WHERE false") is None


async def test_connections_are_reused_and_stay_usable_after_errors(database: Database) -> None:
    for _ in range(30):
        with pytest.raises(IntegrityError):
            async with database.transaction("ten_a") as connection:
                await connection.execute(text("INSERT INTO thing VALUES ('1', 'ten_a', 0)"))
    backends = {(await database.fetch_one("SELECT pg_backend_pid() AS pid")).pid for _ in range(10)}  # type: ignore[union-attr]  # a row it is
    assert len(backends) <= 2  # one, and perhaps one that the pool opened while the first was being opened
    async with database.transaction("ten_a") as connection:
        assert (await connection.execute(text("SELECT 1"))).scalar_one() == 1


async def test_the_connection_that_came_back_last_is_lent_first(database: Database) -> None:
    together = await asyncio.gather(*(server_process(database) for _ in range(4)))
    assert len(set(together)) > 1
    one_by_one = [await server_process(database) for _ in range(8)]
    assert len(set(one_by_one)) == 1


async def test_more_callers_than_connections_all_get_their_turn(database: Database) -> None:
    await asyncio.gather(*(put(database, "ten_a", str(number)) for number in range(50)))
    assert len(await things(database, "ten_a")) == 50


async def test_deadlocked_transactions_both_end_well_when_run_again(database: Database) -> None:
    await put(database, "ten_a", "1")
    await put(database, "ten_a", "2")
    met = asyncio.Barrier(2)
    attempts = 0

    async def grow(first: str, second: str) -> None:
        async def work() -> None:
            nonlocal attempts
            attempts += 1
            collide = attempts <= 2
            async with database.transaction("ten_a") as connection:
                statement = text("UPDATE thing SET size = size + 1 WHERE thing_id = :thing_id")
                await connection.execute(statement, {"thing_id": first})
                if collide:
                    await met.wait()
                await connection.execute(statement, {"thing_id": second})

        await database.run_again(work)

    await asyncio.gather(grow("1", "2"), grow("2", "1"))
    assert attempts == 3
    async with database.transaction("ten_a") as connection:
        assert set((await connection.execute(text("SELECT size FROM thing"))).scalars()) == {3}


async def test_a_hot_statement_that_fails_passingly_is_run_again(urls: Urls) -> None:
    database = Database(urls.app, pool_size=1)  # the sequence is its connection's own
    await database.open()
    await database.execute("CREATE TEMP SEQUENCE attempts")
    fails_twice = """
        DO $$ BEGIN
            IF nextval('attempts') < 3 THEN RAISE EXCEPTION 'collision' USING ERRCODE = '40001'; END IF;
        END $$
    """
    await database.execute(fails_twice)
    row = await database.fetch_one("SELECT last_value FROM attempts")
    assert row is not None
    assert row.last_value == 3
    await database.close()


async def test_endless_contention_is_an_unavailable_dependency(database: Database) -> None:
    with pytest.raises(DependencyUnavailable):
        await database.execute("DO $$ BEGIN RAISE EXCEPTION 'always' USING ERRCODE = '40001'; END $$")


@pytest.mark.parametrize("way", ["transaction", "hot"])
async def test_statements_end_with_the_callers_deadline(urls: Urls, way: str) -> None:
    database = Database(urls.app, remaining=lambda: 0.2)
    await database.open()

    async def slow() -> None:
        if way == "hot":
            await database.execute("SELECT pg_sleep(20)")
        async with database.transaction("ten_a") as connection:
            await connection.execute(text("SELECT pg_sleep(20)"))

    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await slow()
    assert time.monotonic() - started < 2
    assert await database.ping()
    await database.close()


async def test_a_cancelled_caller_ends_its_statement_and_spoils_no_connection(database: Database) -> None:
    async def slow() -> None:
        async with database.transaction("ten_a") as connection:
            await connection.execute(text("SELECT pg_sleep(20)"))

    tasks = [asyncio.create_task(slow()) for _ in range(4)]
    await asyncio.sleep(0.3)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    row = await database.fetch_one(
        "SELECT count(*) AS busy FROM pg_stat_activity"
        " WHERE state <> 'idle' AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    assert row is not None
    assert row.busy == 0
    await put(database, "ten_a", "1")


async def test_nobody_gets_a_connection_that_the_server_has_cut(database: Database, urls: Urls) -> None:
    await asyncio.gather(*(database.execute("SELECT pg_sleep(0.1)") for _ in range(8)))
    superuser = Database(urls.superuser, pool_size=1)
    await superuser.open()
    await superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'chassis_app'"
        " AND datname = current_database()"
    )
    await superuser.close()
    for number in range(16):
        await put(database, "ten_a", str(number))


async def test_a_server_that_stops_is_an_unavailable_dependency_until_it_is_back(postgres: Server, urls: Urls) -> None:
    database = Database(urls.app, remaining=lambda: 1.0)
    await database.open()
    await put(database, "ten_a", "1")
    postgres.stop()
    try:
        with pytest.raises(DependencyUnavailable) as refused:
            await put(database, "ten_a", "2")
        assert refused.value.retry_after is not None
        assert not await database.ping()
    finally:
        postgres.start()
    back = time.monotonic()
    while not await database.ping():  # noqa: ASYNC110 - a server process cannot set an event
        await asyncio.sleep(0.05)
    assert time.monotonic() - back < 5
    assert await things(database, "ten_a") == {"1"}
    await put(database, "ten_a", "2")
    await database.close()


async def refused_after(database: Database) -> float:
    began = time.monotonic()
    with pytest.raises(DependencyUnavailable):
        await database.execute("SELECT 1")
    return time.monotonic() - began


async def test_nobody_waits_for_a_server_that_stays_out(
    postgres: Server, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 2.0)
    database = Database(urls.app)
    await database.open()
    await put(database, "ten_a", "1")
    postgres.stop()
    try:
        assert await refused_after(database) > 1.9  # a restart is waited for
        until = time.monotonic() + 10
        while await refused_after(database) > 0.5:
            assert time.monotonic() < until
        refused = [await refused_after(database) for _ in range(30)]
        assert max(refused) < 0.5
    finally:
        postgres.start()
    back = time.monotonic()
    while not await database.ping():
        assert time.monotonic() - back < 5
    # Now waiting is worth it again: for 1.2 s at the end of this queue.
    await asyncio.gather(*(database.execute("SELECT pg_sleep(0.3)") for _ in range(4 * POOL_SIZE)))
    await database.close()


async def test_a_server_that_takes_no_more_connections_is_not_out(urls: Urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 1.0)
    superuser = Database(urls.superuser, pool_size=1)
    await superuser.open()
    await superuser.execute("ALTER ROLE chassis_app CONNECTION LIMIT 1")
    database = Database(urls.app)
    await database.open()

    async def some_of_both() -> None:
        for _ in range(12):
            await database.execute("SELECT pg_sleep(0.2)")

    try:
        await asyncio.gather(some_of_both(), some_of_both())
    finally:
        await superuser.execute("ALTER ROLE chassis_app CONNECTION LIMIT -1")
        await superuser.close()
        await database.close()
