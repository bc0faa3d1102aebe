"""Hot statements that come together go together, on real PostgreSQL: one transaction, each with its own outcome."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from psycopg import errors as pg

from services.chassis.db import Database, HotStatement, counting
from services.chassis.errors import DeadlineExceeded
from tests.databases import Urls

PUT = """
    CREATE FUNCTION put_thing(p_tenant text, p_thing text, p_number integer) RETURNS TABLE (o_thing text, o_seen bigint)
    LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('berth.tenant', p_tenant, true);
        IF p_number = 0 THEN
            RETURN;
        END IF;
        INSERT INTO thing VALUES (p_thing, p_tenant, 10 / (p_number - 1));
        RETURN QUERY SELECT p_thing, count(*) FROM thing;
    END $$
"""


@pytest.fixture
async def put(database: Database, urls: Urls) -> HotStatement:
    with psycopg.connect(urls.superuser, autocommit=True) as connection:
        connection.execute(PUT)
        connection.execute("GRANT EXECUTE ON FUNCTION put_thing TO public")
    return HotStatement(database, "SELECT * FROM put_thing(%s, %s, %s)")


async def test_together_each_gets_its_own_row_under_its_own_tenant(database: Database, put: HotStatement) -> None:
    with counting(database) as counter:
        rows = await asyncio.gather(
            put.fetch_one("c", ("ten_a", "c", 2)),
            put.fetch_one("a", ("ten_b", "a", 2)),
            put.fetch_one("b", ("ten_a", "b", 0)),
            put.fetch_one("d", ("ten_b", "d", 2)),
        )
    assert len(counter.statements) == 1
    # In the order of their keys: "a" before "c" and "d"; and nobody counts another tenant's.
    assert [(row.o_thing, row.o_seen) if row is not None else None for row in rows] == [
        ("c", 1),
        ("a", 1),
        None,
        ("d", 2),
    ]


async def test_an_error_is_its_own_and_the_others_are_stored(
    database: Database, worker: Database, put: HotStatement
) -> None:
    calls = [("a", 2), ("b", 1), ("c", 2), ("a", 2)]
    with counting(database) as counter:
        results = await asyncio.gather(
            *(put.fetch_one(thing, ("ten_a", thing, number)) for thing, number in calls), return_exceptions=True
        )
    assert [type(result) for result in (results[1], results[3])] == [pg.DivisionByZero, pg.UniqueViolation]
    assert len(counter.statements) == 1 + len(calls)
    assert {row.thing_id for row in await worker.fetch_all("SELECT thing_id FROM thing")} == {"a", "c"}


async def test_more_than_fit_into_one_statement_are_all_answered(put: HotStatement) -> None:
    rows = await asyncio.gather(*(put.fetch_one(f"{n:03}", ("ten_a", f"{n:03}", 2)) for n in range(100)))
    assert [row.o_thing for row in rows if row is not None] == [f"{n:03}" for n in range(100)]


async def test_a_caller_waits_no_longer_than_it_may(urls: Urls) -> None:
    hurried = Database(urls.app, remaining=lambda: 0.1)
    await hurried.open()
    with pytest.raises(DeadlineExceeded):
        await HotStatement(hurried, "SELECT pg_sleep(%s)").fetch_one("", (0.5,))
    await hurried.close()
