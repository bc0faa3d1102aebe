"""Booking killed at its named points, out of time, deaf to Kafka: resumed or undone, sold or given back, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from berth.booking.v1 import booking_pb2 as messages

from infra.doubles.stripe.faults import Fault
from tests.integration.booking.around import Around, Customer, customer
from tests.integration.rpc.serving import refusal

Status = messages.Booking
PAYS = "pm_card_visa"
BEFORE_THE_SALE = ("after_claim", "after_hold", "after_payment", "after_post")


@pytest.fixture
async def healthy(around: Around) -> AsyncIterator[Around]:
    """Whatever a test told booking, the next one meets an ordinary one."""
    yield around
    around.double.faults.clear()
    await around.restart("booking")


def of(around: Around, somebody: Customer) -> str:
    """The id of a person's one booking, also when its answer was lost."""
    row = around.one(
        "booking", "SELECT booking_id, count(*) OVER () AS n FROM bookings WHERE user_id = %s", somebody.user_id
    )
    assert row["n"] == 1
    return str(row["booking_id"])


@pytest.mark.parametrize("point", BEFORE_THE_SALE)
async def test_killed_on_the_way_it_is_resumed_and_charged_once(healthy: Around, point: str) -> None:
    resource = await healthy.resource()
    await healthy.restart("booking", BERTH_CRASH_AT=f"booking.{point}")
    async with customer(healthy) as cara:
        lost = await asyncio.gather(cara.book(resource, PAYS, key="k"), return_exceptions=True)
        assert isinstance(lost[0], grpc.aio.AioRpcError)
        assert lost[0].code() is grpc.StatusCode.UNAVAILABLE
    await healthy.restart("booking")
    booking_id = of(healthy, cara)
    assert await healthy.until_booking(booking_id, status="CONFIRMED", step="DONE") < 30
    assert healthy.holds(booking_id) == [("book", "POSTED")]
    assert healthy.kept(booking_id) == 15_000
    async with customer(healthy) as again:
        same = Customer(healthy, again.stub, cara.user_id)
        assert (await same.book(resource, PAYS, key="k")).booking_id == booking_id


@pytest.mark.parametrize("point", ["after_payment", "after_post"])
async def test_killed_when_paid_and_found_too_late_it_knows_what_it_was_sold(healthy: Around, point: str) -> None:
    resource = await healthy.resource()
    await healthy.restart("booking", BERTH_CRASH_AT=f"booking.{point}", BERTH_BOOKING_PAYMENT_WINDOW_SECONDS="2")
    async with customer(healthy) as cara:
        await asyncio.gather(cara.book(resource, PAYS), return_exceptions=True)
    booking_id = of(healthy, cara)
    row = healthy.booking(booking_id)
    assert (row["step"], row["items"], row["vendor_id"], row["total_minor"]) == ("HOLD", [], "", None)
    await asyncio.sleep(2)  # the time to pay is over before anybody looks
    await healthy.restart("booking")
    await healthy.until_booking(booking_id, status="CONFIRMED", step="DONE")
    row = healthy.booking(booking_id)
    assert ([item["item"]["resource_id"] for item in row["items"]], row["total_minor"]) == ([resource], 15_000)
    assert row["vendor_id"]
    assert healthy.kept(booking_id) == 15_000


async def test_killed_after_the_refund_it_is_given_once(healthy: Around) -> None:
    resource = await healthy.resource()
    await healthy.restart("booking", BERTH_CRASH_AT="booking.after_refund")
    async with customer(healthy) as cara:
        booking = await cara.book(resource, PAYS)
        await asyncio.gather(cara.cancel(booking.booking_id), return_exceptions=True)
    await healthy.restart("booking")
    assert await healthy.until_booking(booking.booking_id, status="CANCELLED", step="DONE") < 30
    assert healthy.kept(booking.booking_id) == 0


async def test_an_unpaid_booking_expires_and_its_units_are_free(healthy: Around) -> None:
    await healthy.restart("booking", BERTH_BOOKING_PAYMENT_WINDOW_SECONDS="2")
    resource = await healthy.resource()
    async with customer(healthy) as cara:
        booking = await cara.book(resource)
        assert await healthy.until_booking(booking.booking_id, status="EXPIRED") < 10
        assert healthy.holds(booking.booking_id) == [("book", "VOIDED")]
        await healthy.pay(booking.payment.client_secret)
        assert healthy.kept(booking.booking_id) == 0
        assert (await cara.book(resource, PAYS)).status == Status.CONFIRMED


async def test_paid_while_it_expires_it_is_sold_or_given_back(healthy: Around) -> None:
    await healthy.restart("booking", BERTH_BOOKING_PAYMENT_WINDOW_SECONDS="2")
    resource = await healthy.resource(capacity=20)
    async with customer(healthy) as cara:
        bookings = await asyncio.gather(*(cara.book(resource) for _ in range(12)))
        started = asyncio.get_running_loop().time()

        async def pay_at(number: int, booking: messages.Booking) -> None:
            await asyncio.sleep(max(0.0, started + 1.5 + number * 0.1 - asyncio.get_running_loop().time()))
            await healthy.pay(booking.payment.client_secret)

        await asyncio.gather(*(pay_at(number, booking) for number, booking in enumerate(bookings)))
        ends = set()
        for booking in bookings:
            await healthy.until_booking(booking.booking_id, step="DONE")
            row = healthy.booking(booking.booking_id)
            ends.add(row["status"])
            sold = row["status"] == "CONFIRMED"
            assert healthy.kept(booking.booking_id) == (15_000 if sold else 0)
            assert [status for _, status in healthy.holds(booking.booking_id)] == ["POSTED" if sold else "VOIDED"]
        assert ends <= {"CONFIRMED", "EXPIRED"}


async def test_a_success_that_comes_after_the_hold_is_sold_late_or_given_back(healthy: Around) -> None:
    resource = await healthy.resource(capacity=2)
    async with customer(healthy) as cara:
        bookings = [await cara.book(resource) for _ in range(2)]
        healthy.end_holds(resource)
        assert (await cara.book(resource, PAYS)).status == Status.CONFIRMED
        for booking in bookings:
            await healthy.pay(booking.payment.client_secret)
        for booking in bookings:
            await healthy.until_booking(booking.booking_id, step="DONE")
        rows = {(row := healthy.booking(booking.booking_id))["status"]: row for booking in bookings}
        assert rows.keys() == {"CONFIRMED", "EXPIRED"}
        sold, gone = rows["CONFIRMED"]["booking_id"], rows["EXPIRED"]["booking_id"]
        assert ("late", "POSTED") in healthy.holds(sold)
        assert (healthy.kept(sold), healthy.kept(gone)) == (15_000, 0)
        told = await cara.get(gone)
        assert (told.refund_amount.amount, rows["EXPIRED"]["status_reason"]) == ("150.00", "UNITS_GONE")


async def test_a_provider_that_hangs_after_the_charge_charges_once(healthy: Around) -> None:
    resource = await healthy.resource()
    healthy.double.faults.add(Fault("calls", "timeout", "payment_intents.create", seconds=30))
    async with customer(healthy) as cara:
        booking = await cara.book(resource, PAYS)
        await healthy.until_booking(booking.booking_id, status="CONFIRMED")
        assert healthy.kept(booking.booking_id) == 15_000


async def test_inventory_out_undoes_and_leaves_the_key_free(healthy: Around) -> None:
    resource = await healthy.resource()
    await healthy.kill("inventory")
    try:
        async with customer(healthy) as cara:
            assert (await refusal(cara.book(resource, PAYS, key="k"))).code is grpc.StatusCode.UNAVAILABLE
    finally:
        await healthy.start("inventory")
    first = of(healthy, cara)
    await healthy.until_booking(first, status="FAILED", step="DONE")
    async with customer(healthy) as again:
        same = Customer(healthy, again.stub, cara.user_id)
        booking = await same.book(resource, PAYS, key="k")
    assert (booking.status, booking.booking_id != first) == (Status.CONFIRMED, True)


async def test_payment_out_leaves_it_pending_and_goes_on(healthy: Around) -> None:
    resource = await healthy.resource()
    await healthy.kill("payment")
    try:
        async with customer(healthy) as cara:
            booking = await cara.book(resource, PAYS)
            assert booking.status == Status.PENDING
    finally:
        await healthy.start("payment")
    assert await healthy.until_booking(booking.booking_id, status="CONFIRMED") < 30
    assert healthy.kept(booking.booking_id) == 15_000


async def test_with_kafka_the_news_confirms_and_refunds_are_heard_of(around_with_kafka: Around) -> None:
    around = around_with_kafka
    async with customer(around) as cara:
        booking = await cara.book(await around.resource())
        await around.pay(booking.payment.client_secret)
        await around.until_booking(booking.booking_id, status="CONFIRMED")
        heard = around.one("booking", "SELECT count(*) AS n FROM inbox")
        assert heard["n"] >= 1
        await cara.cancel(booking.booking_id)
        await around.until_booking(booking.booking_id, refund_status="SUCCEEDED")
        assert around.kept(booking.booking_id) == 0
    await around.until(lambda: around.one("booking", "SELECT 1 FROM outbox WHERE publish_time IS NULL") == {})
