"""Parts that go away for a while: what was acknowledged stays, the rest waits, and all recovers by itself."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
import redis

from scripts.history.check import Verdict
from tests.fault.client import new_key, stay
from tests.fault.figures import at_least, exactly, judge, seconds
from tests.fault.load import load
from tests.fault.world import World, night

POSTGRES_DOWN_SECONDS = 20.0
KAFKA_DOWN_SECONDS = 60.0
MAIL_DOWN_SECONDS = 8.0
CREATE_DEADLINE_SECONDS = 15.0
SERVICES = ("inventory", "payment", "booking", "auth", "notification", "booking", "inventory", "payment")


async def test_every_service_is_restarted_under_load(world: World) -> None:
    async with load(world) as running:
        for service in SERVICES:
            await asyncio.to_thread(world.mesh.part(service).restart)
    judge(
        f"rolling SIGTERM of every service ({len(SERVICES)} restarts)",
        "I9 clients unhurt",
        exactly("non-retryable errors", len(running.refused), 0),
        exactly("lost", running.lost(), 0),
        at_least("booked", sum(final.ok for final in running.finals), 50),
    )
    assert running.judged().verdict is Verdict.EXPLAINED


async def test_postgres_restarted_at_once_under_load(world: World) -> None:
    async with load(world) as running:
        part = world.mesh.part("postgres")
        pid = part.pid
        # SIGQUIT is PostgreSQL's immediate shutdown: no checkpoint, every connection cut.
        await asyncio.to_thread(part.signal, signal.SIGQUIT)
        began = time.monotonic()
        await asyncio.to_thread(part.wait_for_another, pid)
        await world.until(lambda: running.first_ok_after(began) < float("inf"), 30)
    judge(
        "PostgreSQL restarted immediate",
        "I9",
        seconds("first ok after", running.first_ok_after(began), most=5.0),
        exactly("non-retryable errors", len(running.refused), 0),
        exactly("lost", running.lost(), 0),
    )
    assert running.judged().verdict is Verdict.EXPLAINED


async def test_postgres_down_for_a_while(world: World) -> None:
    async with load(world) as running:
        part = world.mesh.part("postgres")
        await asyncio.to_thread(part.stop)
        await asyncio.sleep(POSTGRES_DOWN_SECONDS)
        await asyncio.to_thread(part.start)
        await asyncio.to_thread(part.wait_until_serving)
        began = time.monotonic()
        await world.until(lambda: running.first_ok_after(began) < float("inf"), 60)
    judge(
        f"PostgreSQL down {POSTGRES_DOWN_SECONDS:.0f} s",
        "I9 deadlines hold",
        seconds("first ok after", running.first_ok_after(began), most=10.0),
        seconds("slowest call", running.slowest, most=CREATE_DEADLINE_SECONDS + 0.6),
        exactly("non-retryable errors", len(running.refused), 0),
        exactly("lost", running.lost(), 0),
    )
    assert running.judged().verdict is Verdict.EXPLAINED


async def test_kafka_down_for_a_minute(world: World) -> None:
    part, room = world.mesh.part("kafka"), await world.resource(100)
    await asyncio.to_thread(part.stop)
    stopped, errors = time.monotonic(), 0
    unpaid: list[str] = []
    while time.monotonic() - stopped < KAFKA_DOWN_SECONDS - 12:
        reply = await world.customer.book(stay(room, night(0), night(1)), new_key())
        errors += not reply.ok or reply.body["status"] != "CONFIRMED"
        if len(unpaid) < 3:
            booked = await world.customer.book(stay(room, night(1), night(2), token=""), new_key())
            errors += not booked.ok
            await world.pay(booked.body["payment"]["clientSecret"])
            unpaid.append(booked.body["bookingId"])
        await asyncio.sleep(1.0)
    confirmed = [await world.until_status(booking_id, "CONFIRMED", limit=15) for booking_id in unpaid]
    await asyncio.sleep(max(0.0, KAFKA_DOWN_SECONDS - (time.monotonic() - stopped)))
    waiting = world.unpublished()
    await asyncio.to_thread(part.start)
    await asyncio.to_thread(part.wait_until_serving, 90)
    drained = await world.drained()
    judge(
        f"Kafka down {KAFKA_DOWN_SECONDS:.0f} s",
        "I5 confirmed by asking",
        exactly("REST errors", errors, 0),
        exactly("paid by browser and not CONFIRMED", sum(waited > 14 for waited in confirmed), 0),
        at_least("events kept", waiting, 10),
        seconds("drained after", drained, most=30.0),
    )


async def test_redis_flushed_and_down(world: World) -> None:
    room = await world.resource(100)

    async def median() -> float:
        times = []
        for _ in range(15):
            reply = await world.customer.book(stay(room, night(0), night(1)), new_key())
            assert reply.ok, reply
            times.append(reply.seconds)
        return sorted(times)[len(times) // 2]

    before = await median()
    with redis.Redis.from_url(world.mesh.redis_url) as cache:
        cache.flushall()
    flushed = await median()
    await asyncio.to_thread(world.mesh.part("redis").stop)
    down = await median()
    judge(
        "Redis flushed, then down",
        "I1 I3 nothing rests on it",
        seconds("added to a booking", max(flushed - before, down - before, 0.0), most=0.05),
        exactly("bookings", len(world.bookings_of(room)), 45),
    )


@pytest.mark.parametrize(
    ("database", "table", "when"),
    [
        ("inventory", "claims", ""),
        ("payment", "journal_entries", ""),
        ("booking", "booking_history", "NEW.to_status = 'CONFIRMED'"),
        ("booking", "outbox", "NEW.type LIKE '%BookingConfirmed'"),
        ("notification", "deliveries", ""),
    ],
)
async def test_one_named_insert_fails(world: World, database: str, table: str, when: str) -> None:
    body, key = await world.one_night(), new_key()
    condition = f"WHEN ({when})" if when else ""
    world.change(
        database,
        "CREATE SEQUENCE fault_met MINVALUE 0 START 0",  # counts although what it counts is rolled back
        "GRANT USAGE, SELECT ON SEQUENCE fault_met TO PUBLIC",
        """CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('fault_met') < 2 THEN RAISE EXCEPTION 'planted'; END IF; RETURN NEW; END $$""",
        f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW {condition} EXECUTE FUNCTION fault()",
    )
    began = time.monotonic()
    try:
        await world.customer.book(body, key)
        ended = await world.until(
            lambda: [row["status"] for row in world.bookings_of(body["resourceId"])] in (["CONFIRMED"], ["FAILED"]), 60
        )
        await world.drained()
        met = world.rows(database, "SELECT last_value AS n FROM fault_met")[0]["n"]
    finally:
        world.change(database, f"DROP TRIGGER fault ON {table}", "DROP FUNCTION fault", "DROP SEQUENCE fault_met")
    judge(
        f"insert into {database}.{table} fails twice",
        "I3 sold or undone",
        at_least("failures met", met, 1),
        seconds("booking ended after", ended, most=60.0),
        seconds("all quiet after", time.monotonic() - began, most=90.0),
    )


async def test_an_insert_that_never_works_is_compensated_for(world: World) -> None:
    await world.restarted("booking", BERTH_BOOKING_PAYMENT_WINDOW_SECONDS="3")
    body = await world.one_night()
    world.change(
        "payment",
        """CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'planted'; END $$""",
        "CREATE TRIGGER fault BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION fault()",
    )
    try:
        refused = await world.customer.book(body, new_key())
        ended = await world.until(
            lambda: [row["status"] for row in world.bookings_of(body["resourceId"])] == ["EXPIRED"], 60
        )
    finally:
        world.change("payment", "DROP TRIGGER fault ON payments", "DROP FUNCTION fault")
    booking_id = world.bookings_of(body["resourceId"])[0]["booking_id"]
    charges = await world.charges(booking_id)
    await asyncio.to_thread(world.mesh.part("booking").restart)
    await world.reached("booking")
    free = await world.customer.book_surely(body, new_key())
    judge(
        "insert into payment.payments never works",
        "I3 I4 undone",
        seconds("given up after", ended, most=60.0),
        exactly("charges", len(charges), 0),
        exactly("units free again", free.ok, 1),
    )
    assert not refused.ok


async def test_mail_out_for_a_while(world: World) -> None:
    async with world.http.post(f"{world.mesh.mail_url}/outage", json={"seconds": MAIL_DOWN_SECONDS}) as answer:
        assert answer.status == 200
    body = await world.one_night(capacity=5)
    replies = [await world.customer.book_surely(body, new_key()) for _ in range(5)]
    await asyncio.sleep(MAIL_DOWN_SECONDS)
    drained = await world.drained()
    async with world.http.get(f"{world.mesh.mail_url}/messages") as answer:
        caught = await answer.json()
    codes = [reply.body["confirmationCode"] for reply in replies]
    mails = [[mail["headers"]["Message-ID"] for mail in caught if code in mail["text"]] for code in codes]
    judge(
        f"mail out for {MAIL_DOWN_SECONDS:.0f} s",
        "I12 queued, then sent once",
        exactly("bookings not told once", sum(len(found) != 1 for found in mails), 0),
        exactly("distinct Message-IDs each", max(len(set(found)) for found in mails), 1),
        seconds("sent after", drained, most=30.0),
    )
