"""Booking with the real inventory, the real payment and the stand-in for Stripe: sold, waited for, undone, resumed."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator

import grpc
import pytest
from berth.booking.v1 import booking_pb2 as messages
from berth.booking.v1 import booking_service_pb2 as service
from berth.inventory.v1.item_pb2 import Item
from berth.payment.v1 import payment_pb2

from services.chassis.ids import new_id
from tests.integration.booking.around import GUEST, OWNER, VENDOR, Around, Customer, customer
from tests.integration.rpc.serving import refusal, refused

Status = messages.Booking
PAYS = "pm_card_visa"


@pytest.fixture
async def cara(around: Around) -> AsyncIterator[Customer]:
    async with customer(around) as somebody:
        yield somebody


async def test_a_card_that_works_confirms_in_one_call(around: Around, cara: Customer) -> None:
    resource = await around.resource()
    booking = await cara.book(resource, PAYS)
    assert booking.status == Status.CONFIRMED
    assert booking.payment.status == payment_pb2.Payment.SUCCEEDED
    assert (booking.resource_id, booking.vendor_id, booking.quantity) == (resource, VENDOR, 1)
    assert (booking.total_price.currency_code, booking.total_price.amount) == ("GBP", "150.00")
    assert booking.items[0].resource_name == booking.resource_name == "Harbour Hotel, double room"
    assert len(booking.confirmation_code) == 9
    assert booking.user_details == GUEST
    assert not booking.payment.client_secret
    assert await cara.get(booking.booking_id) == booking
    assert around.holds(booking.booking_id) == [("book", "POSTED")]
    assert around.kept(booking.booking_id) == 15_000


async def test_the_last_unit_is_sold_once(around: Around, cara: Customer) -> None:
    resource = await around.resource()
    outcomes = await asyncio.gather(*(cara.book(resource, PAYS) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, messages.Booking) for outcome in outcomes) == 1
    reasons = {refused(outcome).reason for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)}
    assert reasons == {"SLOT_TAKEN"}


async def test_one_key_fifty_times_is_one_booking(around: Around, cara: Customer) -> None:
    resource = await around.resource(capacity=50)
    key = "one-key"
    bookings = await asyncio.gather(*(cara.book(resource, PAYS, key=key) for _ in range(50)))
    assert len({booking.booking_id for booking in bookings}) == 1
    assert {booking.status for booking in bookings} == {Status.CONFIRMED}
    assert (await refusal(cara.book(resource, PAYS, key=key, nights_ahead=50))).reason == "IDEMPOTENCY_KEY_REUSED"


async def test_without_news_a_payment_is_asked_for(around: Around, cara: Customer) -> None:
    booking = await cara.book(await around.resource())
    assert booking.status == Status.PENDING
    again = await cara.get(booking.booking_id)
    assert again.payment.client_secret == booking.payment.client_secret != ""
    await around.pay(booking.payment.client_secret)
    assert await around.until_booking(booking.booking_id, status="CONFIRMED") < 10
    assert around.holds(booking.booking_id) == [("book", "POSTED")]


async def test_a_decline_stays_payable(around: Around, cara: Customer) -> None:
    booking = await cara.book(await around.resource(), "pm_card_chargeDeclined")
    assert (booking.status, booking.payment.last_error) == (Status.PENDING, "card_declined")
    assert booking.payment_status == payment_pb2.Payment.REQUIRES_PAYMENT_METHOD
    attempt = service.AttemptBookingPaymentRequest(
        booking_id=booking.booking_id, payment_details=service.PaymentDetails(token=PAYS)
    )
    paid = await cara.call(cara.stub.AttemptBookingPayment, attempt, "attempt-1")
    assert (paid.status, paid.payment.last_error) == (Status.CONFIRMED, "")
    again = await cara.call(cara.stub.AttemptBookingPayment, attempt, "attempt-1")
    assert again == paid
    assert around.kept(booking.booking_id) == 15_000


async def test_an_unknown_token_leaves_nothing_behind(around: Around, cara: Customer) -> None:
    resource = await around.resource()
    assert (await refusal(cara.book(resource, "pm_nobody_knows", key="first"))).reason == "PAYMENT_TOKEN_INVALID"
    assert (await cara.book(resource, PAYS, key="first")).status == Status.CONFIRMED


async def test_too_little_for_the_provider_is_not_bookable(around: Around, cara: Customer) -> None:
    resource = await around.resource(price="0.01")
    told = await refusal(cara.book(resource, PAYS))
    assert (told.reason, dict(told.infos[0].metadata)) == (
        "NOT_BOOKABLE",
        {"refusals": "AMOUNT_REFUSED", "resourceId": resource},
    )


async def test_what_costs_nothing_is_sold_without_a_payment(around: Around, cara: Customer) -> None:
    booking = await cara.book(await around.resource(price="0"))
    assert (booking.status, booking.payment.payment_id) == (Status.CONFIRMED, "")
    cancelled = await cara.cancel(booking.booking_id)
    assert cancelled.status == Status.CANCELLED
    assert around.holds(booking.booking_id) == [("book", "CANCELLED")]


async def test_a_cancellation_frees_the_units_and_gives_the_money_back(around: Around, cara: Customer) -> None:
    resource = await around.resource()
    booking = await cara.book(resource, PAYS)
    ask = service.GetCancellationQuoteRequest(booking_id=booking.booking_id)
    quote = await cara.call(cara.stub.GetCancellationQuote, ask)
    assert (quote.cancellable, quote.refund_amount.amount, quote.refund_basis_points) == (True, "150.00", 10_000)
    cancelled = await cara.cancel(booking.booking_id)
    assert (cancelled.status, cancelled.refund_amount.amount) == (Status.CANCELLED, "150.00")
    assert around.holds(booking.booking_id) == [("book", "CANCELLED")]
    assert around.kept(booking.booking_id) == 0
    assert (await cara.book(resource, PAYS)).status == Status.CONFIRMED
    asked = service.GetBookingHistoryRequest(booking_id=booking.booking_id)
    history = await cara.call(cara.stub.GetBookingHistory, asked)
    assert [found.to_status for found in history.transitions] == [Status.PENDING, Status.CONFIRMED, Status.CANCELLED]


async def test_cancelling_while_it_waits_charges_nothing(around: Around, cara: Customer) -> None:
    booking = await cara.book(await around.resource())
    cancelled = await cara.cancel(booking.booking_id, key="cancel")
    assert (cancelled.status, cancelled.refund_amount.amount) == (Status.CANCELLED, "")
    assert await cara.cancel(booking.booking_id, key="cancel") == cancelled
    await around.pay(booking.payment.client_secret)
    assert (around.holds(booking.booking_id), around.kept(booking.booking_id)) == ([("book", "VOIDED")], 0)


async def test_lists_walk_by_page_and_by_token(around: Around, cara: Customer) -> None:
    resource = await around.resource(capacity=5)
    ids = [(await cara.book(resource, PAYS)).booking_id for _ in range(5)][::-1]
    first = await cara.call(cara.stub.ListUserBookings, service.ListUserBookingsRequest(user_id="me", page_size=2))
    token = first.pagination.next_page_token
    rest = service.ListUserBookingsRequest(user_id="me", page_size=10, page_token=token)
    walked = [*first.data, *(await cara.call(cara.stub.ListUserBookings, rest)).data]
    assert [booking.booking_id for booking in walked] == ids
    third = service.ListUserBookingsRequest(user_id=cara.user_id, page=3, limit=2)
    paged = await cara.call(cara.stub.ListUserBookings, third)
    assert [booking.booking_id for booking in paged.data] == ids[4:]
    assert (paged.pagination.page, paged.pagination.limit, paged.pagination.total) == (3, 2, 5)
    other = service.ListUserBookingsRequest(user_id="me", status=Status.CANCELLED, page_token=token)
    assert (await refusal(cara.call(cara.stub.ListUserBookings, other))).reason == "PAGE_TOKEN_INVALID"
    staff = around.token(OWNER, "bookings.manage", vendors=(VENDOR,))
    listed = await cara.stub.ListVendorBookings(
        service.ListVendorBookingsRequest(vendor_id=VENDOR, limit=100), metadata=staff, timeout=5
    )
    assert set(ids) <= {booking.booking_id for booking in listed.data}


async def test_strangers_find_nothing(around: Around, cara: Customer) -> None:
    booking = await cara.book(await around.resource(), PAYS)
    missing = new_id("bkg", at=dt.datetime.now(dt.UTC))
    async with customer(around) as stranger:
        answers = []
        for booking_id in (booking.booking_id, missing):
            told = await refusal(stranger.get(booking_id))
            answers.append((told.code, told.message, told.reason, dict(told.infos[0].metadata)))
    assert answers[0] == answers[1]
    assert answers[0][0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"start_date": "2031-02-29", "end_date": "2031-03-02"}, "startDate"),
        ({"start_date": "2031-13-01", "end_date": "2031-13-02"}, "startDate"),
        ({"quantity": -1}, "quantity"),
        ({"end_date": ""}, ""),
        ({"resource_id": "", "start_date": "", "end_date": ""}, ""),
        (
            {"user_details": messages.UserDetails(first_name="A", last_name="B", email="no address")},
            "userDetails.email",
        ),
        ({"payment_method": "gold"}, "paymentMethod"),
    ],
)
async def test_bad_fields_are_named(around: Around, cara: Customer, change: dict[str, object], field: str) -> None:
    wanted: dict[str, object] = {
        "resource_id": new_id("res", at=dt.datetime.now(dt.UTC)),
        "start_date": "2031-03-01",
        "end_date": "2031-03-02",
        "user_details": GUEST,
    }
    request = service.CreateBookingRequest(**wanted | change)  # type: ignore[arg-type]  # wrong on purpose
    told = await refusal(cara.call(cara.stub.CreateBooking, request))
    assert told.reason == "INVALID_FIELD"
    assert field in {violation.field for violation in told.violations}
    assert around.one("booking", "SELECT 1 FROM bookings WHERE user_id = %s", cara.user_id) == {}


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (service.CreateBookingRequest(quote_id=new_id("quo", at=dt.datetime.now(dt.UTC))), "QUOTE_INVALID"),
        (service.CreateBookingRequest(hold_id=new_id("hld", at=dt.datetime.now(dt.UTC))), "HOLD_ENDED"),
        (
            service.CreateBookingRequest(
                items=[
                    Item(
                        resource_id=new_id("res", at=dt.datetime.now(dt.UTC)),
                        start_date="2031-03-01",
                        end_date="2031-03-02",
                    )
                ]
            ),
            "NOT_FOUND",
        ),
    ],
)
async def test_what_inventory_refuses_is_refused_in_our_words(
    cara: Customer, request_: service.CreateBookingRequest, reason: str
) -> None:
    request_.user_details.CopyFrom(GUEST)
    assert (await refusal(cara.call(cara.stub.CreateBooking, request_))).reason == reason


async def test_no_personal_data_in_any_log(around: Around, cara: Customer) -> None:
    await cara.book(await around.resource(), PAYS)
    for name in ("booking", "inventory", "payment"):
        told = around.log(name).read_text()
        assert told
        for personal in (GUEST.email, GUEST.phone, GUEST.last_name, PAYS):
            assert personal not in told
