"""Inventory as a process, by generated stubs over mTLS: a vendor's and a customer's whole way, and what is refused."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import psycopg
from berth.inventory.events.v1 import events_pb2
from berth.inventory.v1 import availability_service_pb2 as availability
from berth.inventory.v1 import catalog_service_pb2 as catalog
from berth.inventory.v1 import item_pb2, resource_pb2
from berth.inventory.v1.availability_service_pb2_grpc import (
    AvailabilityServiceStub,
    BookingHoldServiceStub,
    HoldServiceStub,
)
from berth.inventory.v1.catalog_service_pb2_grpc import ResourceServiceStub, VendorServiceStub
from berth.type.v1.money_pb2 import Money
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis.ids import new_id
from tests.integration.inventory.process import Inventory
from tests.integration.rpc.serving import TENANT, refusal

OWNER, BUYER, REVIEWER = (new_id("usr", at=datetime.now(UTC)) for _ in range(3))
SELLING = ("vendors.create", "vendors.manage", "resources.manage")
BUYING = ("quotes.create", "holds.place")
ANYBODY = (("berth-tenant", "demo"),)
AS_BOOKING = (("berth-tenant", TENANT), ("berth-on-behalf-of", BUYER))
SOON = (datetime.now(UTC) + timedelta(days=30)).date()
SETTLE_SECONDS = 20.0
POLL_SECONDS = 0.05


def a_room(vendor_id: str, **changes: Any) -> catalog.CreateResourceRequest:
    """A room to create."""
    fields: dict[str, Any] = {
        "vendor_id": vendor_id,
        "name": "Room",
        "kind": resource_pb2.Resource.STAY,
        "time_zone": "Europe/Berlin",
        "capacity": 2,
        "price": resource_pb2.Price(
            unit_price=Money(currency_code="EUR", amount="99.90"),
            fee=Money(currency_code="EUR", amount="25"),
            tax_basis_points=700,
        ),
    }
    return catalog.CreateResourceRequest(**{**fields, **changes})


def some_nights(resource_id: str, count: int = 2, quantity: int = 1) -> item_pb2.Item:
    """Some nights."""
    end = SOON + timedelta(days=count)
    return item_pb2.Item(
        resource_id=resource_id, start_date=SOON.isoformat(), end_date=end.isoformat(), quantity=quantity
    )


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what must come true."""
    for _ in range(round(SETTLE_SECONDS / POLL_SECONDS)):
        if holds():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("It did not come true.")


async def onboarded(inventory: Inventory, channel: grpc.aio.Channel) -> str:
    """An approved vendor of the owner's."""
    vendors = VendorServiceStub(channel)
    owner = inventory.token(OWNER, *SELLING)
    vendor = await vendors.CreateVendor(catalog.CreateVendorRequest(display_name="Harbour"), metadata=owner)
    await vendors.SubmitVendor(catalog.SubmitVendorRequest(vendor_id=vendor.vendor_id), metadata=owner)
    reviewer = inventory.token(REVIEWER, "vendors.review")
    await vendors.ApproveVendor(catalog.ApproveVendorRequest(vendor_id=vendor.vendor_id), metadata=reviewer)
    return str(vendor.vendor_id)


async def test_a_vendors_way(inventory: Inventory) -> None:
    inventory.directory.out = True
    async with inventory.dial("gateway") as channel:
        vendors, resources = VendorServiceStub(channel), ResourceServiceStub(channel)
        owner, keyed = inventory.token(OWNER, *SELLING), inventory.token(OWNER, *SELLING, key="v1")
        create = catalog.CreateVendorRequest(display_name="Harbour")
        vendor = await vendors.CreateVendor(create, metadata=keyed)
        assert vendor.status == resource_pb2.Vendor.DRAFT
        assert await vendors.CreateVendor(create, metadata=keyed) == vendor
        create.display_name = "Pier"
        assert (await refusal(vendors.CreateVendor(create, metadata=keyed))).reason == "IDEMPOTENCY_KEY_REUSED"
        # Auth was out; it hears of the owner as soon as it is back.
        assert inventory.directory.tries
        inventory.directory.out = False
        await until(lambda: inventory.directory.grants == [(OWNER, vendor.vendor_id)])

        hidden = catalog.GetVendorRequest(vendor_id=vendor.vendor_id)
        assert (await refusal(vendors.GetVendor(hidden, metadata=ANYBODY))).reason == "NOT_FOUND"
        assert (await vendors.GetVendor(hidden, metadata=owner)) == vendor
        early = await refusal(resources.CreateResource(a_room(vendor.vendor_id), metadata=owner))
        assert (early.reason, dict(early.infos[0].metadata)) == ("VENDOR_STATE_INVALID", {"status": "DRAFT"})
        reviewer = inventory.token(REVIEWER, "vendors.review")
        submit = catalog.SubmitVendorRequest(vendor_id=vendor.vendor_id)
        assert (await vendors.SubmitVendor(submit, metadata=owner)).status == resource_pb2.Vendor.SUBMITTED
        reject = catalog.RejectVendorRequest(vendor_id=vendor.vendor_id, reason="Say more.")
        assert (await vendors.RejectVendor(reject, metadata=reviewer)).status == resource_pb2.Vendor.REJECTED
        assert (await vendors.SubmitVendor(submit, metadata=owner)).status == resource_pb2.Vendor.SUBMITTED
        approve = catalog.ApproveVendorRequest(vendor_id=vendor.vendor_id)
        assert (await vendors.ApproveVendor(approve, metadata=reviewer)).status == resource_pb2.Vendor.APPROVED
        assert (await vendors.GetVendor(hidden, metadata=ANYBODY)).status == resource_pb2.Vendor.APPROVED

        update = catalog.UpdateVendorRequest(vendor_id=vendor.vendor_id, display_name="Pier", etag=vendor.etag)
        assert (await refusal(vendors.UpdateVendor(update, metadata=owner))).reason == "ETAG_MISMATCH"
        update.etag = ""
        assert (await vendors.UpdateVendor(update, metadata=owner)).display_name == "Pier"
        stranger = inventory.token(BUYER, *SELLING)
        assert (await refusal(vendors.UpdateVendor(update, metadata=stranger))).reason == "NOT_FOUND"
        foreign = await refusal(resources.CreateResource(a_room(vendor.vendor_id), metadata=stranger))
        assert (foreign.reason, dict(foreign.infos[0].metadata)) == ("NOT_FOUND", {"resource": "vendor"})

        made = [await resources.CreateResource(a_room(vendor.vendor_id), metadata=owner) for _ in range(3)]
        page = await resources.ListResources(catalog.ListResourcesRequest(page_size=2), metadata=ANYBODY)
        assert [found.resource_id for found in page.resources] == [made[2].resource_id, made[1].resource_id]
        rest = catalog.ListResourcesRequest(page_size=2, page_token=page.next_page_token)
        last = await resources.ListResources(rest, metadata=ANYBODY)
        assert [found.resource_id for found in last.resources] == [made[0].resource_id]
        assert not last.next_page_token
        rest.vendor_id = vendor.vendor_id  # a token belongs to its arguments
        assert (await refusal(resources.ListResources(rest, metadata=ANYBODY))).reason == "PAGE_TOKEN_INVALID"
        listed = await vendors.ListVendors(catalog.ListVendorsRequest(), metadata=ANYBODY)
        assert [found.vendor_id for found in listed.vendors] == [vendor.vendor_id]

        change = catalog.UpdateResourceRequest(resource_id=made[0].resource_id, capacity=5)
        changed = await resources.UpdateResource(change, metadata=owner)
        assert (changed.capacity, changed.name) == (5, "Room")
        change.update_mask.CopyFrom(FieldMask(paths=["kind"]))
        wrong = await refusal(resources.UpdateResource(change, metadata=owner))
        assert (wrong.reason, dict(wrong.infos[0].metadata)) == ("UPDATE_MASK_INVALID", {"path": "kind"})
        archive = catalog.ArchiveResourceRequest(resource_id=made[0].resource_id, etag=changed.etag)
        archived = await resources.ArchiveResource(archive, metadata=owner)
        assert archived.status == resource_pb2.Resource.ARCHIVED
        assert await resources.ArchiveResource(archive, metadata=owner) == archived
    with psycopg.connect(inventory.urls.auditor) as auditor:
        events = auditor.execute("SELECT key, type, version, payload FROM outbox ORDER BY sequence").fetchall()
    assert [version for key, _, version, _ in events if key == vendor.vendor_id] == [1, 2, 3, 4, 5, 6]
    told = [(name, version) for key, name, version, _ in events if key == made[0].resource_id]
    assert told == [("berth.inventory.events.v1.ResourceChanged", version) for version in (1, 2, 3)]
    assert events_pb2.ResourceChanged.FromString(bytes(events[-1][3])).resource == archived


async def test_a_customers_way(inventory: Inventory) -> None:
    async with inventory.dial("gateway") as channel, inventory.dial("booking") as inside:
        looking, holds = AvailabilityServiceStub(channel), HoldServiceStub(channel)
        booking = BookingHoldServiceStub(inside)
        vendor_id = await onboarded(inventory, channel)
        owner, buyer = inventory.token(OWNER, *SELLING), inventory.token(BUYER, *BUYING)
        room = await ResourceServiceStub(channel).CreateResource(a_room(vendor_id), metadata=owner)
        item = some_nights(room.resource_id)

        check = availability.CheckAvailabilityRequest(
            resource_id=room.resource_id, start_date=item.start_date, end_date=item.end_date
        )
        seen = await looking.CheckAvailability(check, metadata=ANYBODY)
        assert (seen.available, seen.available_quantity, seen.price.amount) == (True, 2, "240.54")
        assert [(line.kind, line.amount.amount) for line in seen.lines] == [(1, "199.80"), (2, "25.00"), (3, "15.74")]

        quote = await looking.CreateQuote(availability.CreateQuoteRequest(items=[item]), metadata=buyer)
        keyed = inventory.token(BUYER, *BUYING, key="h1")
        place = availability.PlaceHoldRequest(quote_id=quote.quote_id, ttl=Duration(seconds=60))
        hold = await holds.PlaceHold(place, metadata=keyed)
        assert (hold.status, hold.total) == (availability.Hold.HELD, seen.price)
        assert await holds.PlaceHold(place, metadata=keyed) == hold
        read = availability.GetHoldRequest(hold_id=hold.hold_id)
        assert await holds.GetHold(read, metadata=buyer) == hold
        stranger = inventory.token(OWNER, *BUYING)
        assert (await refusal(holds.GetHold(read, metadata=stranger))).reason == "NOT_FOUND"
        longer = availability.ExtendHoldRequest(hold_id=hold.hold_id, ttl=Duration(seconds=600))
        assert (await holds.ExtendHold(longer, metadata=buyer)).expire_time.seconds > hold.expire_time.seconds

        booking_id = new_id("bkg", at=datetime.now(UTC))
        order = availability.PlaceBookingHoldRequest(
            booking_id=booking_id, step="book", user_id=BUYER, hold_id=hold.hold_id, ttl=Duration(seconds=900)
        )
        taken = await booking.PlaceBookingHold(order, metadata=AS_BOOKING)
        assert (taken.hold_id, taken.booking_id) == (hold.hold_id, booking_id)
        ended = await refusal(holds.ReleaseHold(availability.ReleaseHoldRequest(hold_id=hold.hold_id), metadata=buyer))
        assert (ended.reason, dict(ended.infos[0].metadata)) == ("HOLD_ENDED", {"status": "HELD"})
        post = availability.PostHoldRequest(booking_id=booking_id, step="book")
        assert (await booking.PostHold(post, metadata=AS_BOOKING)).status == availability.Hold.POSTED

        other = availability.PlaceBookingHoldRequest(
            booking_id=new_id("bkg", at=datetime.now(UTC)),
            step="book",
            user_id=BUYER,
            items=[some_nights(room.resource_id, quantity=2)],
            ttl=Duration(seconds=60),
        )
        refused = await refusal(booking.PlaceBookingHold(other, metadata=AS_BOOKING))
        told = {"available": "1", "resourceId": room.resource_id}
        assert (refused.code, refused.reason, dict(refused.infos[0].metadata)) == (
            grpc.StatusCode.ABORTED,
            "UNITS_TAKEN",
            told,
        )
        days = await looking.GetCalendar(
            availability.GetCalendarRequest(
                resource_id=room.resource_id, start_date=item.start_date, end_date=(SOON + timedelta(3)).isoformat()
            ),
            metadata=ANYBODY,
        )
        assert [day.available_quantity for day in days.days] == [1, 1, 2]
        cancel = availability.CancelPostedHoldRequest(booking_id=booking_id, step="book")
        assert (await booking.CancelPostedHold(cancel, metadata=AS_BOOKING)).status == availability.Hold.CANCELLED
        void = availability.VoidHoldRequest(booking_id=booking_id, step="later")
        assert await booking.VoidHold(void, metadata=AS_BOOKING) == availability.VoidHoldResponse()
        # The process's own sweeper marks what time has ended.
        brief = availability.PlaceHoldRequest(items=[item], ttl=Duration(seconds=10))
        swept = await holds.PlaceHold(brief, metadata=buyer)
        with psycopg.connect(inventory.urls.superuser, autocommit=True) as connection:
            for table in ("holds", "claims"):
                connection.execute(
                    f"UPDATE {table} SET expire_time = expire_time - interval '1 minute' WHERE hold_id = %s",
                    (swept.hold_id,),
                )
            query = "SELECT status FROM holds WHERE hold_id = %s"
            await until(lambda: connection.execute(query, (swept.hold_id,)).fetchone() == ("EXPIRED",))


async def test_who_may_call_what(inventory: Inventory) -> None:
    void = availability.VoidHoldRequest(booking_id=new_id("bkg", at=datetime.now(UTC)), step="book")
    for peer in ("gateway", "payment", "operator"):
        async with inventory.dial(peer) as channel:
            refused = await refusal(BookingHoldServiceStub(channel).VoidHold(void, metadata=AS_BOOKING))
            assert refused.code is grpc.StatusCode.PERMISSION_DENIED
    async with inventory.dial("gateway") as channel:
        create = catalog.CreateVendorRequest(display_name="Harbour")
        vendors = VendorServiceStub(channel)
        assert (await refusal(vendors.CreateVendor(create, metadata=ANYBODY))).reason == "TOKEN_MISSING"
        lacking = inventory.token(OWNER, "holds.place")
        assert (await refusal(vendors.CreateVendor(create, metadata=lacking))).reason == "PERMISSION_DENIED"


async def test_bad_input_is_named(inventory: Inventory) -> None:
    async with inventory.dial("gateway") as channel:
        resources, looking = ResourceServiceStub(channel), AvailabilityServiceStub(channel)
        vendor_id = await onboarded(inventory, channel)
        owner, buyer = inventory.token(OWNER, *SELLING), inventory.token(BUYER, *BUYING)
        room = await resources.CreateResource(a_room(vendor_id), metadata=owner)

        def price(amount: str, fee: str = "EUR", currency: str = "EUR") -> resource_pb2.Price:
            return resource_pb2.Price(
                unit_price=Money(currency_code=currency, amount=amount), fee=Money(currency_code=fee, amount="1")
            )

        rooms = {
            "time_zone": a_room(vendor_id, time_zone="Mars/Olympus"),
            "capacity": a_room(vendor_id, capacity=0),
            "name": a_room(vendor_id, name="<b>"),
            "price.unit_price": a_room(vendor_id, price=price("-1")),
            "price.unit_price.amount": a_room(vendor_id, price=price("1.001")),
            "price.unit_price.currency_code": a_room(vendor_id, price=price("1", currency="ZZZ", fee="ZZZ")),
            "price.fee": a_room(vendor_id, price=price("1", fee="USD")),
            "stay.max_nights": a_room(vendor_id, stay=resource_pb2.StayRules(min_nights=9, max_nights=3)),
        }
        for field, request in rooms.items():
            fault = await refusal(resources.CreateResource(request, metadata=owner))
            json_name = _json(field)
            assert (fault.reason, [one.field for one in fault.violations]) == ("INVALID_FIELD", [json_name])

        def check(start: str, end: str, **more: Any) -> Any:
            request = availability.CheckAvailabilityRequest(
                resource_id=room.resource_id, start_date=start, end_date=end, **more
            )
            return looking.CheckAvailability(request, metadata=ANYBODY)

        for start, end in (("2027-02-29", "2027-03-02"), ("0000-01-01", "2027-03-02"), ("2027-03-02", "2027-03-02")):
            assert (await refusal(check(start, end))).reason == "INVALID_FIELD"
        for start, end, codes in (
            ("0001-01-01", "0001-01-02", [3]),
            ("9999-12-30", "9999-12-31", [4]),
            ("0001-01-01", "9999-12-31", [3, 6]),
            ((SOON).isoformat(), (SOON + timedelta(3650)).isoformat(), [6]),
        ):
            assert [refusal.code for refusal in (await check(start, end)).refusals] == codes
        many = await check(SOON.isoformat(), (SOON + timedelta(1)).isoformat(), quantity=1000)
        assert [refused.code for refused in many.refusals] == [8]
        long = availability.GetCalendarRequest(
            resource_id=room.resource_id, start_date="2027-01-01", end_date="2037-01-01"
        )
        fault = await refusal(looking.GetCalendar(long, metadata=ANYBODY))
        assert [one.field for one in fault.violations] == ["endDate"]
        for start, end in (("0001-01-01", "0001-01-03"), ("9999-12-29", "9999-12-31")):
            edge = availability.GetCalendarRequest(resource_id=room.resource_id, start_date=start, end_date=end)
            assert len((await looking.GetCalendar(edge, metadata=ANYBODY)).days) == 2
        slots = availability.ListSlotsRequest(resource_id=room.resource_id, date=SOON.isoformat())
        assert (await refusal(looking.ListSlots(slots, metadata=ANYBODY))).reason == "NOT_BOOKABLE"
        both = availability.PlaceHoldRequest(quote_id=new_id("quo", at=datetime.now(UTC)), items=[])
        assert (await refusal(HoldServiceStub(channel).PlaceHold(both, metadata=buyer))).reason == "QUOTE_INVALID"


async def test_it_ends_well(inventory: Inventory) -> None:
    inventory.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(inventory.process.wait(), 15) == 0
    log = inventory.log.read_text()
    assert "Traceback" not in log


def _json(path: str) -> str:
    words = path.split("_")
    return words[0] + "".join(word[0].upper() + word[1:] for word in words[1:])
