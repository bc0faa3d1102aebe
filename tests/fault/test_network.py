"""A bad way between services, a dependency of no use, clocks that are wrong, too many callers."""

from __future__ import annotations

import asyncio
import time

import grpc
import pytest
from berth.booking.v1 import booking_pb2, booking_service_pb2
from berth.booking.v1.booking_service_pb2_grpc import BookingServiceStub

from tests.fault.client import Reply, new_key, stay
from tests.fault.figures import at_least, at_most, exactly, judge, seconds
from tests.fault.inventory import unavailable_inventory
from tests.fault.proxy import Weather, between
from tests.fault.world import CUSTOMER, World, log_in, night

DEADLINE_SECONDS = 2.0
LATE_SECONDS = 0.1  # how much later than its deadline a caller may hear
CLOCK_SECONDS = 600
AT_ONCE = 8  # calls that the overloaded booking serves at the same time
ROUND_SECONDS = 4.0


def _peers(world: World, service: str, address: str) -> str:
    """Booking's peers, with another address for one of them."""
    own = world.mesh.service_environment("booking")["BERTH_PEERS"]
    peers = dict(peer.split("=") for peer in own.split(";"))
    return ";".join(f"{name}={found}" for name, found in (peers | {service: address}).items())


@pytest.mark.parametrize("service", ["inventory", "payment"])
@pytest.mark.parametrize("weather", [Weather.SLOW, Weather.STALLED, Weather.CUT])
async def test_the_deadline_holds_over_a_bad_way(world: World, service: str, weather: Weather) -> None:
    async with between(world.mesh.endpoint(service)) as (proxy, address):
        await world.restarted("booking", BERTH_PEERS=_peers(world, service, address))
        try:
            good = await world.customer.book_surely(await world.one_night(), new_key())
            assert good.ok, good
            room = await world.resource(20)
            proxy.change(weather, 0.2)
            target = world.mesh.gateway_url.removeprefix("http://")
            async with grpc.aio.insecure_channel(target) as channel:
                tried = [await _book_in_time(world, channel, room) for _ in range(4)]
            proxy.change(Weather.CLEAR)
            cleared = time.monotonic()
            again = await world.customer.book_surely(stay(room, night(0), night(1)), new_key())
            recovered = time.monotonic() - cleared
            assert again.ok, again
        finally:
            # Nobody may look for the way when it is no more.
            await asyncio.to_thread(world.mesh.part("booking").restart)
    unclear = [code for _, code in tried if code not in {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}]
    judge(
        f"{service} {weather}{' by 200 ms' if weather is Weather.SLOW else ''}",
        "deadline end to end",
        seconds(
            f"slowest of deadline {DEADLINE_SECONDS:.0f} s",
            max(took for took, _ in tried),
            most=DEADLINE_SECONDS + LATE_SECONDS,
        ),
        exactly("unclear errors", len(unclear), 0),
        seconds("ok again after", recovered, most=10.0),
    )
    if weather is Weather.SLOW:
        assert {code for _, code in tried} == {"OK"}, tried


async def _book_in_time(world: World, channel: grpc.aio.Channel, room: str) -> tuple[float, str]:
    request = booking_service_pb2.CreateBookingRequest(
        resource_id=room,
        start_date=night(0),
        end_date=night(1),
        quantity=1,
        user_details=booking_pb2.UserDetails(
            first_name="Gwen", last_name="Guest", email="gwen@mail.example", phone="+442071838750"
        ),
        payment_method="credit_card",
        payment_details=booking_service_pb2.PaymentDetails(token="pm_card_visa"),
    )
    metadata = (("authorization", f"Bearer {world.customer.token}"), ("idempotency-key", new_key()))
    began = time.monotonic()
    try:
        await BookingServiceStub(channel).CreateBooking(request, timeout=DEADLINE_SECONDS, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return time.monotonic() - began, error.code().name
    return time.monotonic() - began, "OK"


async def test_a_dependency_that_answers_only_unavailable_is_hardly_asked_again(world: World) -> None:
    body, requests = await world.one_night(), 60
    part = world.mesh.part("inventory")
    await asyncio.to_thread(part.stop)
    async with unavailable_inventory(world.mesh) as calls:
        replies = [await world.customer.book(body, new_key()) for _ in range(requests)]
        met = calls.first["/berth.inventory.v1.BookingHoldService/PlaceBookingHold"]
    await asyncio.to_thread(part.start)
    await asyncio.to_thread(part.wait_until_serving)
    judge(
        "inventory answers only UNAVAILABLE",
        "one layer retries",
        at_most("attempts a request", calls.attempts_each, 1.2),
        at_least("requests that reached it", met, requests // 2),
        exactly("not answered 503", sum(reply.status != 503 for reply in replies), 0),
    )


async def test_a_key_whose_call_met_an_outage_is_good_afterwards(world: World) -> None:
    body, key = await world.one_night(), new_key()
    part = world.mesh.part("inventory")
    await asyncio.to_thread(part.stop)
    out = await world.customer.book(body, key)
    assert out.status == 503, out
    await asyncio.to_thread(part.start)
    await asyncio.to_thread(part.wait_until_serving)
    began = time.monotonic()
    again = await world.customer.book_surely(body, key, limit=45)
    judge(
        "the same key after an outage",
        "what passes is asked again",
        exactly("booked", again.ok, 1),
        seconds("booked after", time.monotonic() - began, most=30.0),
    )


@pytest.mark.parametrize("offset", [CLOCK_SECONDS, -CLOCK_SECONDS])
async def test_inventorys_clock_is_wrong_and_the_databases_counts(world: World, offset: int) -> None:
    room = await world.resource(1)
    await world.restarted("auth", BERTH_ACCESS_TOKEN_SECONDS="1800")  # else nobody's token outlives the wrong clock
    body = stay(room, night(0), night(1), token="")
    try:
        person = await log_in(world.mesh.gateway_url, world.http, *CUSTOMER)
        await world.restarted("inventory", BERTH_CLOCK_OFFSET_SECONDS=str(offset))
        first = await person.book_surely(body, new_key())
        second = await person.book_surely(body, new_key())
        assert first.ok, first
        left = world.rows(
            "inventory",
            "SELECT extract(epoch FROM expire_time - now())::float8 AS s FROM holds WHERE booking_id = %(booking)s",
            booking=first.body["bookingId"],
        )[0]["s"]
        cancelled = await person.cancel(first.body["bookingId"], new_key())
        third = await person.book_surely(body, new_key())
        assert cancelled.ok, cancelled
        await person.cancel(third.body["bookingId"], new_key())
    finally:
        await world.restarted("inventory")
        await world.restarted("auth")
    judge(
        f"inventory's clock {offset:+d} s",
        "database time rules holds",
        exactly("taken while held", second.reason == "SLOT_TAKEN", 1),
        seconds("hold's time off by", abs(left - 1020), most=2.0),  # payment window and two minutes
        exactly("free after the cancellation", third.ok, 1),
    )


async def test_ten_times_as_many_callers_as_can_be_served(world: World) -> None:
    await world.restarted("booking", BERTH_MAX_CONCURRENT_CALLS=str(AT_ONCE))
    room = await world.resource(1_000)

    async def round_of(clients: int) -> list[Reply]:
        end, replies = time.monotonic() + ROUND_SECONDS, []

        async def client(number: int) -> None:
            cell = number % 20
            while time.monotonic() < end:
                reply = await world.customer.book(stay(room, night(cell), night(cell + 1)), new_key())
                replies.append(reply)
                if not reply.ok:
                    await asyncio.sleep(1.0)  # as Retry-After asks

        await asyncio.gather(*(client(number) for number in range(clients)))
        return replies

    await round_of(AT_ONCE)
    before = sum(reply.ok for reply in await round_of(AT_ONCE))
    flood = await round_of(10 * AT_ONCE)
    over = time.monotonic()
    calm = await world.customer.book_surely(stay(room, night(0), night(1)), new_key())
    recovered = time.monotonic() - over
    after = sum(reply.ok for reply in await round_of(AT_ONCE))
    assert calm.ok, calm
    shed = [reply for reply in flood if reply.reason == "OVERLOADED"]
    judge(
        "10 × overload",
        "shed early, recover",
        at_least("goodput", sum(reply.ok for reply in flood) / min(before, after), 0.8),
        seconds("slowest refusal", max(reply.seconds for reply in shed), most=1.0),
        exactly("other errors", sum(not reply.ok for reply in flood) - len(shed), 0),
        seconds("recovered after", recovered, most=10.0),
    )
