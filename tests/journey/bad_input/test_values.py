"""Values that are well formed and still wrong: ranges, dates, money, pages, masks, ids that contradict each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.journey.bad_input.good import Good, a_room
from tests.journey.world.calls import Calls, Reply
from tests.journey.world.world import CARD, DEMO_CLINIC, DEMO_STAY, GUEST, World

CHECK = "inventory.v1.AvailabilityService/CheckAvailability"
CALENDAR = "inventory.v1.AvailabilityService/GetCalendar"
QUOTE = "inventory.v1.AvailabilityService/CreateQuote"
SLOTS = "inventory.v1.AvailabilityService/ListSlots"
HOLD = "inventory.v1.HoldService/PlaceHold"
BOOK = "booking.v1.BookingService/CreateBooking"
CREATE = "inventory.v1.ResourceService/CreateResource"
UPDATE = "inventory.v1.ResourceService/UpdateResource"

NIGHT = {"startDate": "2028-03-01", "endDate": "2028-03-02"}
# What is no range at all, by the contract; fields that a violation may name.
NO_RANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no end": {"startDate": "2028-03-01"},
    "no start": {"endDate": "2028-03-01"},
    "end = start": {"startDate": "2028-03-01", "endDate": "2028-03-01"},
    "end < start": {"startDate": "2028-03-02", "endDate": "2028-03-01"},
    "dates and instants": {**NIGHT, "startTime": "2028-03-01T10:00:00Z", "endTime": "2028-03-01T11:00:00Z"},
    "instants, end = start": {"startTime": "2028-03-01T10:00:00Z", "endTime": "2028-03-01T10:00:00Z"},
    "instants, end < start": {"startTime": "2028-03-01T10:00:00Z", "endTime": "2028-03-01T09:59:59.999Z"},
    "an instant and a date": {"startDate": "2028-03-01", "endTime": "2028-03-02T10:00:00Z"},
    "29 February of another year": {"startDate": "2027-02-29", "endDate": "2027-03-01"},
    "30 February": {"startDate": "2028-02-30", "endDate": "2028-03-01"},
    "month 13": {"startDate": "2028-13-01", "endDate": "2028-13-02"},
    "year 0": {"startDate": "0000-01-01", "endDate": "0000-01-02"},
    "short": {"startDate": "28-3-1", "endDate": "28-3-2"},
    "other digits": {"startDate": "٢٠٢٨-٠٣-٠١", "endDate": "٢٠٢٨-٠٣-٠٢"},
    "a time in a date": {"startDate": "2028-03-01T00:00:00Z", "endDate": "2028-03-02T00:00:00Z"},
}
# What is one, and cannot be booked: the reason is a machine's.
REFUSED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "ten years": ({"startDate": "2027-03-01", "endDate": "2037-03-01"}, {"TOO_LONG", "TOO_FAR_AHEAD"}),
    "the past": ({"startDate": "2020-03-01", "endDate": "2020-03-02"}, {"IN_THE_PAST"}),
    "the year 1": ({"startDate": "0001-01-01", "endDate": "0001-01-02"}, {"IN_THE_PAST"}),
    "the end of time": ({"startDate": "9999-12-30", "endDate": "9999-12-31"}, {"TOO_FAR_AHEAD"}),
    "instants for a stay": (
        {"startTime": "2027-03-01T10:00:00Z", "endTime": "2027-03-01T11:00:00Z"},
        {"WRONG_KIND"},
    ),
    "more units than there are": (
        {"startDate": "2027-03-01", "endDate": "2027-03-02", "quantity": 1000},
        {"EXCEEDS_CAPACITY"},
    ),
}


def both(calls: Calls, path: str, fields: dict[str, Any], headers: dict[str, str]) -> list[Reply]:
    """The answers by REST and by gRPC, which must be the same but for HTTP's own."""
    method = calls.method(path)
    return [calls.by_rest(method, fields, headers), calls.by_grpc(method, fields, headers)]


@pytest.mark.parametrize("name", NO_RANGES)
def test_ranges_that_are_none(name: str, world: World, calls: Calls) -> None:
    mine = world["customer"].headers
    item = {"resourceId": DEMO_STAY, **NO_RANGES[name]}
    for path, fields, at in (
        (CHECK, item, ""),
        (QUOTE, {"items": [item]}, "items"),
        (HOLD, {"items": [item]}, "items"),
        (BOOK, {**item, "userDetails": GUEST}, ""),
        (BOOK, {"items": [item], "userDetails": GUEST}, "items"),
    ):
        for reply in both(calls, path, fields, mine):
            assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD"), (path, reply)
            assert reply.fields, path
            assert all(field.startswith(at) for field in reply.fields), (path, reply.fields)


@pytest.mark.parametrize("name", REFUSED)
def test_ranges_that_cannot_be_booked(name: str, world: World, calls: Calls) -> None:
    span, codes = REFUSED[name]
    mine = world["customer"].headers
    item = {"resourceId": DEMO_STAY, **span}
    for reply in both(calls, CHECK, item, {"Berth-Tenant": "demo"}):
        assert reply.ok
        assert not reply.body.get("available")
        assert {refusal["code"] for refusal in reply.body["refusals"]} & codes, reply.body
    for path, fields in (
        (QUOTE, {"items": [item]}),
        (HOLD, {"items": [item]}),
        (BOOK, {**item, "userDetails": GUEST, "paymentDetails": {"token": CARD}}),
    ):
        for reply in both(calls, path, fields, mine):
            assert (reply.code, reply.reason) == ("FAILED_PRECONDITION", "NOT_BOOKABLE"), (path, reply)


def test_slots_off_the_grid_and_without_a_zone(world: World, calls: Calls) -> None:
    monday = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0) + timedelta(days=30)
    monday -= timedelta(days=monday.weekday())
    mine = world["customer"].headers
    off = {"resourceId": DEMO_CLINIC, **_instants(monday + timedelta(minutes=7), 30)}
    for reply in both(calls, HOLD, {"items": [off]}, mine):
        assert reply.reason == "NOT_BOOKABLE"
    at_night = {"resourceId": DEMO_CLINIC, **_instants(monday - timedelta(hours=8), 30)}
    for reply in both(calls, HOLD, {"items": [at_night]}, mine):
        assert reply.reason == "NOT_BOOKABLE"
    naive = {"resourceId": DEMO_CLINIC, "startTime": "2027-03-01T10:00:00", "endTime": "2027-03-01T10:30:00"}
    assert calls.by_rest(calls.method(HOLD), {"items": [naive]}, mine).reason == "MALFORMED_REQUEST"


def _instants(start: datetime, minutes: int) -> dict[str, str]:
    return {"startTime": start.isoformat(), "endTime": (start + timedelta(minutes=minutes)).isoformat()}


@pytest.mark.parametrize("day", ["2027-02-29", "2028-02-30", "2028-00-01", "tomorrow", "", "2028-2-1"])
def test_days_that_are_none(day: str, calls: Calls) -> None:
    anonymous = {"Berth-Tenant": "demo"}
    for reply in both(calls, SLOTS, {"resourceId": DEMO_CLINIC, "date": day}, anonymous):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("date",))
    for reply in both(calls, CALENDAR, {"resourceId": DEMO_STAY, "startDate": day, "endDate": "2028-03-09"}, anonymous):
        assert reply.reason == "INVALID_FIELD"
        assert "startDate" in reply.fields


def test_the_leap_day_is_a_day(calls: Calls) -> None:
    anonymous = {"Berth-Tenant": "demo"}
    leap = {"resourceId": DEMO_STAY, "startDate": "2028-02-28", "endDate": "2028-03-01"}
    for reply in both(calls, CALENDAR, leap, anonymous):
        assert [day["date"] for day in reply.body["days"]] == ["2028-02-28", "2028-02-29"]


def test_a_calendar_of_ten_years(calls: Calls) -> None:
    asked = {"resourceId": DEMO_STAY, "startDate": "2027-01-01", "endDate": "2037-01-01"}
    for reply in both(calls, CALENDAR, asked, {"Berth-Tenant": "demo"}):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("endDate",))


@pytest.mark.parametrize("quantity", [-1, 1001, 2**31 - 1])
def test_quantities(quantity: int, world: World, calls: Calls) -> None:
    item = {"resourceId": DEMO_STAY, **NIGHT, "quantity": quantity}
    mine = world["customer"].headers
    for path, fields, at in (
        (CHECK, item, "quantity"),
        (HOLD, {"items": [item]}, "items[0].quantity"),
        (BOOK, {**item, "userDetails": GUEST}, "quantity"),
    ):
        for reply in both(calls, path, fields, mine):
            assert (reply.reason, reply.fields) == ("INVALID_FIELD", (at,)), path


def test_too_many_items(world: World, calls: Calls) -> None:
    item = {"resourceId": DEMO_STAY, **NIGHT}
    for path, fields in ((QUOTE, {"items": [item] * 11}), (BOOK, {"items": [item] * 11, "userDetails": GUEST})):
        for reply in both(calls, path, fields, world["customer"].headers):
            assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("items",)), path


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("GBP", "-0.01"),
        ("GBP", "1.005"),
        ("GBP", "1.0"),
        ("GBP", "01.00"),
        ("GBP", "1e2"),
        ("GBP", "+1.00"),
        ("GBP", " 1.00"),
        ("GBP", "1,000.00"),
        ("GBP", "Infinity"),
        ("GBP", "92233720368547758.08"),
        ("GBP", "9" * 400),
        ("JPY", "1.50"),
        ("XTS", "1.00"),
        ("gbp", "1.00"),
        ("", "1.00"),
        ("GBP", ""),
    ],
)
def test_money(currency: str, amount: str, world: World, calls: Calls) -> None:
    seller = world["rival"]
    money = {"currencyCode": currency, "amount": amount}
    room = a_room(world.thing("vendor", "rival's").id) | {"price": {"unitPrice": money}}
    refund = {"paymentId": world.thing("payment", "other's").id, "amount": money}
    for path, fields, at in (
        (CREATE, room, "price.unitPrice"),
        ("payment.v1.PaymentService/CreateRefund", refund, "amount"),
    ):
        for reply in both(calls, path, fields, seller.headers):
            if amount == "1.0" and reply.reason in {"OK", "REFUND_EXCEEDS_PAYMENT"}:
                continue  # exact, if not in the usual number of digits
            assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD"), (path, reply)
            assert all(field.startswith(at) for field in reply.fields), (path, reply.fields)


def test_refunds_that_are_no_refunds(world: World, calls: Calls) -> None:
    payment = world.thing("payment", "other's").id
    for currency, amount, reason in (
        ("GBP", "0.00", "INVALID_FIELD"),
        ("GBP", "80.01", "REFUND_EXCEEDS_PAYMENT"),
        ("EUR", "1.00", "REFUND_EXCEEDS_PAYMENT"),
    ):
        asked = {"paymentId": payment, "amount": {"currencyCode": currency, "amount": amount}}
        for reply in both(calls, "payment.v1.PaymentService/CreateRefund", asked, world["rival"].headers):
            assert reply.reason in {reason, "INVALID_FIELD"} if currency == "EUR" else reply.reason == reason, reply


def test_prices_of_another_currency(world: World, calls: Calls, good: dict[str, Good]) -> None:
    room = good[UPDATE].fields["resourceId"]
    euros = {"currencyCode": "EUR", "amount": "5.00"}
    for price in ({"unitPrice": euros}, {"unitPrice": {"currencyCode": "GBP", "amount": "5.00"}, "fee": euros}):
        for reply in both(calls, UPDATE, {"resourceId": room, "price": price}, world["rival"].headers):
            assert reply.reason == "INVALID_FIELD"
            assert all(field.startswith("price") for field in reply.fields)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../../etc/passwd", "GMT+25", "europe/london", "Europe", "x" * 64])
def test_zones(zone: str, world: World, calls: Calls) -> None:
    room = a_room(world.thing("vendor", "rival's").id) | {"timeZone": zone}
    for reply in both(calls, CREATE, room, world["rival"].headers):
        assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("timeZone",)), reply


def test_a_path_and_a_body_that_name_different_ids(world: World, calls: Calls) -> None:
    mine, theirs = world.thing("booking", "other's"), world.thing("booking", "customer's")
    headers = world["other"].headers
    said = calls.read(
        calls.http.post(
            f"/api/v1/bookings/{mine.id}/cancel", json={"bookingId": theirs.id, "etag": "stale"}, headers=headers
        )
    )
    assert said.reason in {"MALFORMED_REQUEST", "ETAG_MISMATCH"}
    for name in ("bookingId", "booking_id", "booking%49d", "booking%5fid"):
        for verb, path in (("GET", mine.id), ("POST", f"{mine.id}/cancel")):
            said = calls.read(calls.http.request(verb, f"/api/v1/bookings/{path}?{name}={theirs.id}", headers=headers))
            assert (said.http, said.reason) == (400, "MALFORMED_REQUEST"), (verb, name)
    for body in ({"resource_id": theirs.id}, {"booking_id": theirs.id, "etag": "stale"}):
        said = calls.read(
            calls.http.post(f"/api/v1/bookings/{mine.id}/cancel", json=body | {"etag": "x"}, headers=headers)
        )
        assert said.reason in {"MALFORMED_REQUEST", "ETAG_MISMATCH"}
    for thing in (mine, theirs):
        owner = world["other"] if thing is mine else world["customer"]
        shown = owner.must("booking.v1.BookingService/GetBooking", {"bookingId": thing.id})
        assert shown["status"] == "CONFIRMED"


def test_sources_that_contradict_each_other(world: World, calls: Calls) -> None:
    item = {"resourceId": DEMO_STAY, **NIGHT}
    quote, hold = world.thing("quote", "customer's").id, world.thing("hold", "customer's").id
    for fields in (
        {"userDetails": GUEST},
        {**item, "items": [item], "userDetails": GUEST},
        {**item, "quoteId": quote, "userDetails": GUEST},
        {"quoteId": quote, "holdId": hold, "userDetails": GUEST},
        {"quoteId": quote, "quantity": 2, "userDetails": GUEST},
        {"holdId": hold, "startDate": "2028-03-01", "userDetails": GUEST},
    ):
        for reply in both(calls, BOOK, fields, world["customer"].headers):
            assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD"), fields


@pytest.mark.parametrize("token", ["pm_nope", "tok_unknown", "sk_test_x", "x" * 255])
def test_payment_tokens_that_the_provider_does_not_know(token: str, world: World, calls: Calls) -> None:
    for reply in both(
        calls, BOOK, {**world.night(), "userDetails": GUEST, "paymentDetails": {"token": token}}, world["other"].headers
    ):
        assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "PAYMENT_TOKEN_INVALID"), reply


@pytest.mark.parametrize("blank", [" ", "   ", "\u00a0\u3000"])
def test_names_that_are_blank(blank: str, world: World, calls: Calls, good: dict[str, Good]) -> None:
    for path, changed, at in (
        (BOOK, {"userDetails": GUEST | {"lastName": blank}}, "userDetails.lastName"),
        (CREATE, {"name": blank}, "name"),
        (UPDATE, {"name": blank}, "name"),
        ("inventory.v1.VendorService/CreateVendor", {"displayName": blank}, "displayName"),
        ("inventory.v1.VendorService/UpdateVendor", {"displayName": blank}, "displayName"),
        ("auth.v1.UserService/UpdateMe", {"firstName": blank}, "firstName"),
        ("auth.v1.TenantService/CreateTenant", {"displayName": blank}, "displayName"),
    ):
        for reply in both(calls, path, {**good[path].fields, **changed}, good[path].headers):
            assert (reply.reason, reply.fields) == ("INVALID_FIELD", (at,)), (path, reply)


def test_amounts_that_the_provider_does_not_take(world: World, calls: Calls) -> None:
    for amount in ("0.01", "99999999.00"):
        price = {"price": {"unitPrice": {"currencyCode": "GBP", "amount": amount}}}
        room = world["rival"].must(CREATE, a_room(world.thing("vendor", "rival's").id) | price)
        order = {**world.night(), "resourceId": room["resourceId"], "userDetails": GUEST}
        for reply in both(calls, BOOK, order | {"paymentDetails": {"token": CARD}}, world["other"].headers):
            assert (reply.reason, reply.body["details"][0]["metadata"]["refusals"]) == (
                "NOT_BOOKABLE",
                "AMOUNT_REFUSED",
            )


def test_ids_that_only_look_like_ids(world: World, calls: Calls) -> None:
    odd = "z" * 26
    mine = world["rival"].headers
    for path, fields, reason in (
        (CREATE, a_room(f"vnd_{odd}"), "NOT_FOUND"),
        (BOOK, {"holdId": f"hld_{odd}", "userDetails": GUEST}, "HOLD_ENDED"),
        (BOOK, {"quoteId": f"quo_{odd}", "userDetails": GUEST}, "QUOTE_INVALID"),
        (BOOK, {"resourceId": f"res_{odd}", **NIGHT, "userDetails": GUEST}, "NOT_FOUND"),
        ("booking.v1.BookingService/GetBooking", {"bookingId": f"bkg_{odd}"}, "NOT_FOUND"),
    ):
        for reply in both(calls, path, fields, mine):
            assert reply.reason == reason, (path, reply)
