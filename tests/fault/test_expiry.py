"""A hold that ends against the payment's success: CONFIRMED or given back, never both and never neither."""

from __future__ import annotations

import asyncio
import random
import time

from tests.fault.client import new_key, stay
from tests.fault.figures import at_least, exactly, judge, seconds
from tests.fault.world import World, night

RACES = 1_000
AT_ONCE = 64
WINDOW_SECONDS = 2
# When the payer pays, seen from the end of the payment window: around the moment when booking gives up.
EARLIEST, LATEST = -0.4, 2.5


async def test_a_thousand_holds_end_while_they_are_paid(world: World) -> None:
    await world.restarted("booking", BERTH_BOOKING_PAYMENT_WINDOW_SECONDS=str(WINDOW_SECONDS))
    room, seed = await world.resource(RACES), random.randrange(10**6)
    chance, turn = random.Random(seed), asyncio.Semaphore(AT_ONCE)

    async def race() -> str:
        async with turn:
            began = time.monotonic()
            booked = await world.customer.book_surely(stay(room, night(0), night(1), token=""), new_key())
            assert booked.ok, booked
            late = began + WINDOW_SECONDS + chance.uniform(EARLIEST, LATEST)
            secret = booked.body["payment"]["clientSecret"]
            if secret:  # else the time was over before the answer
                await asyncio.sleep(max(0.0, late - time.monotonic()))
                await world.pay(secret)
            return str(booked.body["bookingId"])

    raced = await asyncio.gather(*(race() for _ in range(RACES)))
    drained = await world.drained()
    statuses = world.statuses(raced)
    money = world.rows(
        "payment",
        """SELECT p.booking_id, p.captured_minor AS taken, coalesce(sum(r.amount_minor), 0)::bigint AS given
        FROM payments p LEFT JOIN refunds r ON r.payment_id = p.payment_id AND r.status = 'SUCCEEDED'
        WHERE p.booking_id = ANY(%(ids)s) GROUP BY p.payment_id""",
        ids=list(raced),
    )
    kept = {row["booking_id"]: row["taken"] - row["given"] for row in money}
    both = sum(kept.get(booking, 0) != 0 for booking, status in statuses.items() if status != "CONFIRMED")
    neither = sum(kept.get(booking, 0) == 0 for booking, status in statuses.items() if status == "CONFIRMED")
    ends = [status for status in statuses.values() if status in {"CONFIRMED", "EXPIRED"}]
    judge(
        f"hold ends against payment, {RACES} races (seed {seed})",
        "I2 I3 I4",
        exactly("paid for nothing", both, 0),
        exactly("sold unpaid", neither, 0),
        exactly("neither CONFIRMED nor EXPIRED", RACES - len(ends), 0),
        at_least("confirmed", ends.count("CONFIRMED"), RACES // 50),
        at_least("expired", ends.count("EXPIRED"), RACES // 50),
        seconds("drained after", drained, most=60.0),
    )
