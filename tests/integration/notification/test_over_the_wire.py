"""Notification's own methods, and its calls to auth and booking, through real servers with certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from berth.auth.v1 import tenant_service_pb2 as auth
from berth.auth.v1.tenant_service_pb2_grpc import add_DirectoryServiceServicer_to_server
from berth.booking.v1 import booking_pb2
from berth.booking.v1.booking_service_pb2_grpc import add_BookingDirectoryServiceServicer_to_server
from berth.inventory.v1.item_pb2 import PricedItem
from berth.notification.v1 import notification_service_pb2 as api
from berth.notification.v1.notification_service_pb2_grpc import (
    NotificationServiceStub,
    add_NotificationServiceServicer_to_server,
)
from berth.type.v1.money_pb2 import Money as MoneyMessage

from services.chassis.errors import DependencyUnavailable, NotFound, Overloaded
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.chassis.rpc.context import background
from services.notification.clients.bookings import RemoteBookings
from services.notification.clients.people import RemotePeople
from services.notification.domain import Code, Contact, Gone
from services.notification.rpc import NotificationRpc
from services.notification.usecases import deliver, queue_message, take_due
from tests.integration.rpc.serving import TENANT, USER, Dial, Open, Running, Serve, refusal
from tests.ports.notification.fakes import AT, BOOKING, CHALLENGE, World, occasion, world


@asynccontextmanager
async def notification(serve: Serve, fakes: World) -> AsyncIterator[Running]:
    servicer = NotificationRpc(fakes.ports)
    async with serve(add_NotificationServiceServicer_to_server, name="notification") as running:
        for name in ("ListNotifications", "ReadNotification", "ListDeliveries"):
            running.scripted.handlers[name] = _calling(servicer, name)
        yield running


def _calling(servicer: NotificationRpc, name: str) -> Any:
    async def call(request: Any) -> Any:
        return await getattr(servicer, name)(request, None)

    return call


async def told(fakes: World, number: int) -> None:
    """So many messages to the caller, delivered, a second apart."""
    fakes.people.contacts[USER] = Contact("ada@example.org", "Ada", "en", "Demo")
    for event in range(1, number + 1):
        await queue_message(
            fakes.ports, occasion(event_id=f"evt_{event}", key=f"k{event}", user_id=USER, tenant_id=TENANT)
        )
        for delivery in await take_due(fakes.ports, 10):
            await deliver(fakes.ports, delivery)
        fakes.clock.advance(timedelta(seconds=1))


def bearer(running: Running, *permissions: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {running.keys.token(*permissions)}"),)


async def test_people_page_through_their_messages_and_read_them(serve: Serve, dial: Dial) -> None:
    fakes = world()
    await told(fakes, 5)
    async with notification(serve, fakes) as running, dial(running, "gateway") as channel:
        stub = NotificationServiceStub(channel)
        mine = bearer(running, "notifications.read")
        first = await stub.ListNotifications(api.ListNotificationsRequest(page_size=3), metadata=mine, timeout=5)
        rest = await stub.ListNotifications(
            api.ListNotificationsRequest(page_size=3, page_token=first.next_page_token), metadata=mine, timeout=5
        )
        assert [len(first.notifications), len(rest.notifications)] == [3, 2]
        assert rest.next_page_token == ""
        newest = first.notifications[0]
        assert newest.kind == "booking_confirmed"
        assert newest.booking_id == BOOKING
        assert not newest.HasField("read_time")
        request = api.ReadNotificationRequest(notification_id=newest.notification_id)
        read = await stub.ReadNotification(request, metadata=mine, timeout=5)
        assert read.HasField("read_time")
        unread = await stub.ListNotifications(api.ListNotificationsRequest(unread=True), metadata=mine, timeout=5)
        assert len(unread.notifications) == 4


async def test_administrators_list_deliveries(serve: Serve, dial: Dial) -> None:
    fakes = world()
    await told(fakes, 2)
    async with notification(serve, fakes) as running, dial(running, "gateway") as channel:
        stub = NotificationServiceStub(channel)
        admin = bearer(running, "deliveries.read")
        found = await stub.ListDeliveries(api.ListDeliveriesRequest(), metadata=admin, timeout=5)
        assert [row.status for row in found.deliveries] == [api.Delivery.Status.SENT] * 2
        assert all(row.HasField("sent_time") and row.attempts == 1 for row in found.deliveries)
        queued = api.ListDeliveriesRequest(status=api.Delivery.Status.QUEUED)
        assert not (await stub.ListDeliveries(queued, metadata=admin, timeout=5)).deliveries


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (api.ListNotificationsRequest(page_size=-1), "INVALID_FIELD"),
        (api.ListNotificationsRequest(page_token="forged"), "PAGE_TOKEN_INVALID"),
        (api.ReadNotificationRequest(notification_id="1 OR 1=1"), "INVALID_FIELD"),
        (api.ReadNotificationRequest(notification_id=new_id("ntf", at=AT)), "NOT_FOUND"),
        (api.ListDeliveriesRequest(status=77), "INVALID_FIELD"),  # type: ignore[arg-type]  # what the test is about
    ],
)
async def test_wrong_requests_are_refused_with_their_reason(
    serve: Serve, dial: Dial, request_: Any, reason: str
) -> None:
    async with notification(serve, world()) as running, dial(running, "gateway") as channel:
        method = getattr(NotificationServiceStub(channel), type(request_).__name__.removesuffix("Request"))
        both = bearer(running, "notifications.read", "deliveries.read")
        assert (await refusal(method(request_, metadata=both, timeout=5))).reason == reason


async def test_a_page_token_is_good_for_its_own_list_only(serve: Serve, dial: Dial) -> None:
    fakes = world()
    await told(fakes, 3)
    async with notification(serve, fakes) as running, dial(running, "gateway") as channel:
        stub = NotificationServiceStub(channel)
        mine = bearer(running, "notifications.read")
        page = await stub.ListNotifications(api.ListNotificationsRequest(page_size=1), metadata=mine, timeout=5)
        other = api.ListNotificationsRequest(unread=True, page_token=page.next_page_token)
        refused = await refusal(stub.ListNotifications(other, metadata=mine, timeout=5))
        assert refused.reason == "PAGE_TOKEN_INVALID"


async def test_without_the_permission_nothing_is_read(serve: Serve, dial: Dial) -> None:
    async with notification(serve, world()) as running, dial(running, "gateway") as channel:
        stub = NotificationServiceStub(channel)
        customer = bearer(running, "notifications.read")
        refused = await refusal(stub.ListDeliveries(api.ListDeliveriesRequest(), metadata=customer, timeout=5))
        assert refused.code is grpc.StatusCode.PERMISSION_DENIED
        refused = await refusal(stub.ListNotifications(api.ListNotificationsRequest(), timeout=5))
        assert refused.code is grpc.StatusCode.UNAUTHENTICATED


async def test_people_and_their_codes_come_from_auth(serve: Serve, channels: Open) -> None:
    person = "usr_01jvc0000000000000000000va"
    async with (
        serve(add_DirectoryServiceServicer_to_server, name="auth") as running,
        channels("notification", auth=[running.port]) as opened,
    ):
        people = RemotePeople(opened)

        async def contact(request: auth.GetContactRequest) -> auth.Contact:
            if request.user_id != person:
                raise NotFound(resource=request.user_id)
            return auth.Contact(
                user_id=person, email="ada@example.org", first_name="Ada", locale="de", tenant_display_name="Demo"
            )

        async def code(_request: auth.GetOtpRequest) -> auth.GetOtpResponse:
            answer = auth.GetOtpResponse(otp="123456")
            answer.expire_time.FromDatetime(AT)
            return answer

        running.scripted.handlers |= {"GetContact": contact, "GetOtp": code}
        with background("test", tenant_id=TENANT):
            assert await people.contact(person) == Contact("ada@example.org", "Ada", "de", "Demo")
            assert await people.code(CHALLENGE) == Code("123456", AT)
            with pytest.raises(Gone):
                await people.contact(new_id("usr", at=AT))

            async def shed(_request: Any) -> Any:
                raise Overloaded

            running.scripted.handlers |= {"GetContact": shed}
            with pytest.raises(DependencyUnavailable):
                await people.contact(person)


async def test_bookings_are_described_by_booking(serve: Serve, channels: Open) -> None:
    async with (
        serve(add_BookingDirectoryServiceServicer_to_server, name="booking") as running,
        channels("notification", booking=[running.port]) as opened,
    ):

        async def describe(request: Any) -> booking_pb2.Booking:
            if request.booking_id != BOOKING:
                raise NotFound(resource=request.booking_id)
            return booking_pb2.Booking(
                booking_id=BOOKING,
                resource_name="Room with a view",
                confirmation_code="K7QX2M",
                start_date="2030-06-14",
                end_date="2030-06-16",
                total_price=MoneyMessage(currency_code="EUR", amount="150.00"),
                items=[PricedItem(time_zone="Europe/Berlin")],
            )

        running.scripted.handlers["DescribeBooking"] = describe
        with background("test", tenant_id=TENANT):
            found = await RemoteBookings(opened).describe(BOOKING)
            with pytest.raises(Gone):
                await RemoteBookings(opened).describe(new_id("bkg", at=AT))
    assert (found.resource_name, found.confirmation_code, found.total) == (
        "Room with a view",
        "K7QX2M",
        Money("EUR", 15000),
    )
    assert found.when == "Fri 14 June 2030 to Sun 16 June 2030 (2 nights)"
    assert replace(found, start_date=None).when == "to be agreed"
