"""Many clients at once: winners equal capacity, one key is one booking, and the history has an explanation."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence

from scripts.history.check import Verdict, check
from scripts.history.record import History, Kind, Outcome
from tests.fault.client import Person, Reply, new_key, stay
from tests.fault.figures import exactly, judge, seconds
from tests.fault.world import World, night

TAKEN = "SLOT_TAKEN"


async def taking(
    history: History, person: Person, client: int, body: dict[str, object], cells: Sequence[str], quantity: int = 1
) -> Reply:
    """Books for good and writes down what its client knows afterwards."""
    key = new_key()
    with history.call(client, Kind.TAKE, key, cells, quantity) as answer:
        reply = await person.book_surely(body, key)
        if reply.ok and reply.body["status"] == "CONFIRMED":
            answer.outcome = Outcome.OK
        elif reply.reason == TAKEN:
            answer.outcome = Outcome.REFUSED
        elif not reply.passing:
            answer.outcome = Outcome.FAILED
    return reply


def lost(world: World, replies: Sequence[Reply]) -> int:
    """I9: acknowledged bookings that the database does not know as acknowledged."""
    told = {reply.body["bookingId"]: reply.body["status"] for reply in replies if reply.ok}
    found = world.statuses(list(told))
    return sum(found.get(booking_id) != status for booking_id, status in told.items())


def ninety_ninth(replies: Sequence[Reply]) -> float:
    """The 99th percentile of the answers' times."""
    return statistics.quantiles([reply.seconds for reply in replies], n=100, method="inclusive")[98]


async def test_a_hundred_clients_want_the_last_unit(world: World) -> None:
    warm = await world.one_night(capacity=20)
    await asyncio.gather(*(world.customer.book(warm, new_key()) for _ in range(20)))
    body, history = await world.one_night(capacity=1), History()
    replies = await asyncio.gather(*(taking(history, world.customer, i, body, ["last"]) for i in range(100)))
    wins = [reply for reply in replies if reply.ok]
    judge(
        "100 clients on the last unit",
        "I1 I9 exactly one wins",
        exactly("winners", len(wins), 1),
        exactly("refused as taken", sum(reply.reason == TAKEN for reply in replies), 99),
        seconds("p99", ninety_ninth(replies), most=1.0),
        exactly("lost", lost(world, replies), 0),
    )
    assert check(history.operations(), {"last": 1}).verdict is Verdict.EXPLAINED


async def test_forty_clients_want_seven_units(world: World) -> None:
    body, history = await world.one_night(capacity=7), History()
    replies = await asyncio.gather(*(taking(history, world.customer, i, body, ["seven"]) for i in range(40)))
    judge(
        "40 clients on 7 units",
        "I1 I9 exactly seven win",
        exactly("winners", sum(reply.ok for reply in replies), 7),
        exactly("refused as taken", sum(reply.reason == TAKEN for reply in replies), 33),
        exactly("lost", lost(world, replies), 0),
    )
    assert check(history.operations(), {"seven": 7}).verdict is Verdict.EXPLAINED


async def test_two_rooms_wanted_in_crossed_order(world: World) -> None:
    first, second = await world.resource(3), await world.resource(3)
    history = History()

    def both(one: str, other: str) -> dict[str, object]:
        whole = stay(one, night(0), night(1))
        items = [{"resourceId": room, "startDate": night(0), "endDate": night(1)} for room in (one, other)]
        return {
            "items": items,
            **{name: whole[name] for name in ("userDetails", "paymentMethod", "paymentDetails")},
        }

    orders = [both(first, second), both(second, first)]
    cells = ["first", "second"]
    replies = await asyncio.gather(*(taking(history, world.customer, i, orders[i % 2], cells) for i in range(30)))
    judge(
        "two rooms in crossed order",
        "I1 no deadlock",
        exactly("winners of 3", sum(reply.ok for reply in replies), 3),
        exactly("refused as taken", sum(reply.reason == TAKEN for reply in replies), 27),
        seconds("slowest", max(reply.seconds for reply in replies), most=5.0),
    )
    assert check(history.operations(), {"first": 3, "second": 3}).verdict is Verdict.EXPLAINED


async def test_random_overlaps_are_neither_over_nor_undersold(world: World) -> None:
    seed = random.randrange(10**6)
    chance, history, room, capacity, nights = random.Random(seed), History(), await world.resource(2), 2, 8

    async def guest(client: int) -> list[Reply]:
        replies = []
        for _ in range(4):
            begin = chance.randrange(nights - 1)
            end = min(nights, begin + chance.randint(1, 3))
            cells = [f"night {number}" for number in range(begin, end)]
            body: dict[str, object] = stay(room, night(begin), night(end))
            replies.append(await taking(history, world.customer, client, body, cells))
        return replies

    replies = [reply for told in await asyncio.gather(*(guest(i) for i in range(20))) for reply in told]
    sold = [0] * nights
    asked = history.operations()
    for operation in asked:
        if operation.outcome is Outcome.OK:
            for cell in operation.cells:
                sold[int(cell.removeprefix("night "))] += 1
    # Undersold is a night that was refused although it and its neighbours stayed free to the end.
    under = sum(
        operation.outcome is Outcome.REFUSED
        and all(sold[int(cell.removeprefix("night "))] < capacity for cell in operation.cells)
        for operation in asked
    )
    finding = check(asked, {f"night {number}": capacity for number in range(nights)})
    judge(
        f"80 random overlaps (seed {seed})",
        "I1 history explained",
        exactly("over", sum(count > capacity for count in sold), 0),
        exactly("under", under, 0),
        exactly("neither won nor refused", sum(not reply.ok and reply.reason != TAKEN for reply in replies), 0),
        exactly("lost", lost(world, replies), 0),
    )
    assert finding.verdict is Verdict.EXPLAINED, (seed, finding)


async def test_one_key_fifty_times_is_one_booking(world: World) -> None:
    body, key = await world.one_night(capacity=50), new_key()
    replies = await asyncio.gather(*(world.customer.book_surely(body, key) for _ in range(50)))
    told = [
        {name: reply.body.get(name) for name in ("bookingId", "confirmationCode", "totalPrice")} for reply in replies
    ]
    judge(
        "one key × 50",
        "idempotency",
        exactly("bookings", len(world.bookings_of(body["resourceId"])), 1),
        exactly("different answers", sum(answer != told[0] for answer in told), 0),
        exactly("not answered 2xx", sum(not reply.ok for reply in replies), 0),
    )


async def test_one_key_with_another_body_or_person(world: World) -> None:
    body, key = await world.one_night(capacity=2), new_key()
    mine = await world.customer.book_surely(body, key)
    assert mine.ok, mine
    other_body = await world.customer.book(body | {"quantity": 2}, key)
    theirs = await world.owner.book_surely(body, key)
    assert theirs.ok, theirs
    judge(
        "one key, another body and another person",
        "idempotency",
        exactly("HTTP status for the other body", other_body.status, 400),
        exactly("answers leaked to the other person", theirs.body["bookingId"] == mine.body["bookingId"], 0),
        exactly("bookings", len(world.bookings_of(body["resourceId"])), 2),
    )
    assert other_body.reason == "IDEMPOTENCY_KEY_REUSED"
    assert theirs.body["userId"] == world.owner.user_id


async def test_cancel_against_confirm(world: World) -> None:
    room, races = await world.resource(100), 40

    async def race(number: int) -> tuple[str, Reply]:
        booked = await world.customer.book(stay(room, night(0), night(1), token=""), new_key())
        assert booked.ok, booked
        booking_id = booked.body["bookingId"]
        cancelled, _ = await asyncio.gather(
            world.customer.cancel(booking_id, new_key()), world.pay(booked.body["payment"]["clientSecret"])
        )
        return booking_id, cancelled

    raced = await asyncio.gather(*(race(number) for number in range(races)))
    drained = await world.drained()
    found = {row["booking_id"]: row for row in world.bookings_of(room)}
    kept = world.rows(
        "payment",
        """SELECT p.booking_id, p.captured_minor - coalesce(sum(r.amount_minor), 0)::bigint AS kept FROM payments p
        LEFT JOIN refunds r ON r.payment_id = p.payment_id AND r.status = 'SUCCEEDED'
        WHERE p.booking_id = ANY(%(ids)s) GROUP BY p.payment_id""",
        ids=list(found),
    )
    wrong = [row for row in kept if (found[row["booking_id"]]["status"] == "CONFIRMED") != (row["kept"] == 10_000)]
    judge(
        f"cancel against confirm, {races} races",
        "I2 I3 cancelled or sold",
        exactly("cancellations not answered 2xx", sum(not reply.ok for _, reply in raced), 0),
        exactly("paid for nothing or sold unpaid", len(wrong), 0),
        exactly("not CANCELLED", sum(row["status"] != "CANCELLED" for row in found.values()), 0),
        seconds("drained after", drained, most=30.0),
    )
