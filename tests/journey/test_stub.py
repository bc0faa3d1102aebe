"""Owns the journey as a partner makes it: generated stubs against the gateway, no REST anywhere."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import grpc
import httpx
import pytest
from berth.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from berth.booking.v1 import booking_pb2, booking_service_pb2, booking_service_pb2_grpc
from berth.inventory.v1 import (
    availability_service_pb2,
    availability_service_pb2_grpc,
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    item_pb2,
    resource_pb2,
)
from google.rpc import error_details_pb2, status_pb2

from scripts.demo.journey import ROOM, VENDOR
from tests.journey.audit import audited
from tests.mesh import Mesh

TENANT = (("berth-tenant", "demo"),)
PASSWORD = "a quiet harbour at night"


@pytest.fixture
def channel(mesh: Mesh) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(mesh.gateway_url.removeprefix("http://")) as channel:
        yield channel


def test_a_partner_books_pays_and_cancels_by_stubs(mesh: Mesh, channel: grpc.Channel) -> None:
    token = become_somebody(mesh, channel)
    room = a_stay(channel)
    availability = availability_service_pb2_grpc.AvailabilityServiceStub(channel)
    arrival = datetime.now(UTC).date() + timedelta(days=60)
    stay = item_pb2.Item(
        resource_id=room.resource_id,
        start_date=arrival.isoformat(),
        end_date=(arrival + timedelta(days=2)).isoformat(),
        quantity=1,
    )
    quote = availability.CreateQuote(
        availability_service_pb2.CreateQuoteRequest(items=[stay]), metadata=as_person(token), timeout=5
    )
    bookings = booking_service_pb2_grpc.BookingServiceStub(channel)
    order = booking_service_pb2.CreateBookingRequest(
        quote_id=quote.quote_id,
        user_details=booking_pb2.UserDetails(first_name="Gwen", last_name="Guest", email="gwen@mail.example"),
        payment_details=booking_service_pb2.PaymentDetails(token="pm_card_visa"),
    )
    key = str(uuid.uuid4())
    booked = bookings.CreateBooking(order, metadata=as_person(token, key), timeout=15)
    assert booked.status == booking_pb2.Booking.Status.CONFIRMED
    assert booked.total_price == quote.total
    again = bookings.CreateBooking(order, metadata=as_person(token, key), timeout=15)
    assert again.booking_id == booked.booking_id

    cancelled = bookings.CancelBooking(
        booking_service_pb2.CancelBookingRequest(booking_id=booked.booking_id, reason="Change of plans"),
        metadata=as_person(token),
        timeout=15,
    )
    assert cancelled.status == booking_pb2.Booking.Status.CANCELLED
    assert cancelled.refund_amount == booked.total_price
    assert audited(mesh) == {}


def test_a_refusal_is_a_rich_status_for_stubs_too(channel: grpc.Channel) -> None:
    bookings = booking_service_pb2_grpc.BookingServiceStub(channel)
    with pytest.raises(grpc.RpcError) as refused:
        bookings.GetBooking(booking_service_pb2.GetBookingRequest(booking_id="bkg_?"), metadata=TENANT, timeout=5)
    trailers = refused.value.trailing_metadata() or ()
    details = [trailer.value for trailer in trailers if trailer.key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details[0])
    info = error_details_pb2.ErrorInfo()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    assert (info.reason, info.domain) == ("TOKEN_MISSING", "berth.dev")


def become_somebody(mesh: Mesh, channel: grpc.Channel) -> str:
    """Registers, verifies by the mailed code, logs in; answers the access token."""
    auth = auth_service_pb2_grpc.AuthServiceStub(channel)
    email = f"partner-{uuid.uuid4().hex[:12]}@mail.example"
    auth.Register(
        auth_service_pb2.RegisterRequest(email=email, password=PASSWORD, first_name="Gwen", last_name="Guest"),
        metadata=TENANT,
        timeout=5,
    )
    codes: list[str] = []

    def mailed() -> bool:
        messages = httpx.get(f"{mesh.mail_url}/messages", params={"to": email}).json()
        codes.extend(re.findall(r"\b\d{6}\b", messages[0]["text"]) if messages else [])
        return bool(codes)

    mesh.wait(mailed, f"a code for {email}", 30)
    auth.VerifyEmail(auth_service_pb2.VerifyEmailRequest(email=email, otp=codes[0]), metadata=TENANT, timeout=5)
    session = auth.Login(auth_service_pb2.LoginRequest(email=email, password=PASSWORD), metadata=TENANT, timeout=5)
    token: str = session.tokens.access_token
    return token


def a_stay(channel: grpc.Channel) -> resource_pb2.Resource:
    """The demo's nightly stay, as anybody may see it."""
    resources = catalog_service_pb2_grpc.ResourceServiceStub(channel)
    request = catalog_service_pb2.ListResourcesRequest(vendor_id=VENDOR)
    listed = resources.ListResources(request, metadata=TENANT, timeout=5)
    return next(resource for resource in listed.resources if resource.resource_id == ROOM)


def as_person(token: str, key: str = "") -> tuple[tuple[str, str], ...]:
    """The metadata of a call by somebody, with an idempotency key of its own unless one is given."""
    return (("authorization", f"Bearer {token}"), ("idempotency-key", key or str(uuid.uuid4())))
