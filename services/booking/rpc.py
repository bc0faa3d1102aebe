"""Booking's servicers: wire in, use case, wire out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from berth.booking.v1 import booking_pb2 as messages
from berth.booking.v1 import booking_service_pb2 as service
from berth.booking.v1.booking_service_pb2_grpc import BookingDirectoryServiceServicer, BookingServiceServicer

from services.booking import usecases, wire
from services.booking.ports import Listed, Ports, Window
from services.booking.usecases import View
from services.chassis import paging
from services.chassis.errors import IdempotencyKeyInvalid, PageTokenInvalid
from services.chassis.ids import is_id
from services.chassis.rpc.context import current

DEFAULT_PAGE = 20  # bookings
MAX_PAGE = 100

ListRequest = service.ListUserBookingsRequest | service.ListVendorBookingsRequest
Lister = Callable[[Window], Awaitable[tuple[list[View], Listed]]]


class BookingRpc(BookingServiceServicer):
    """BookingService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def CreateBooking(self, request: service.CreateBookingRequest, _: Any) -> messages.Booking:
        call = current()
        command = wire.create_booking(request)
        view = await usecases.create_booking(self._ports, call.principal, command, call.idempotency)
        call.location = f"/api/v1/bookings/{view.booking.booking_id}"
        return wire.booking(view)

    async def GetBooking(self, request: service.GetBookingRequest, _: Any) -> messages.Booking:
        return wire.booking(await usecases.get_booking(self._ports, current().principal, request.booking_id))

    async def ListUserBookings(self, request: service.ListUserBookingsRequest, _: Any) -> service.ListBookingsResponse:
        caller, status = current().principal, wire.status_asked(request.status)

        async def find(window: Window) -> tuple[list[View], Listed]:
            return await usecases.user_bookings(self._ports, caller, request.user_id, status, window)

        return await _page(request, f"{caller.tenant_id} {caller.subject} {request.user_id} {request.status}", find)

    async def ListVendorBookings(
        self, request: service.ListVendorBookingsRequest, _: Any
    ) -> service.ListBookingsResponse:
        caller, status = current().principal, wire.status_asked(request.status)

        async def find(window: Window) -> tuple[list[View], Listed]:
            return await usecases.vendor_bookings(self._ports, caller, request.vendor_id, status, window)

        return await _page(request, f"{caller.tenant_id} {request.vendor_id} {request.status}", find)

    async def GetBookingHistory(
        self, request: service.GetBookingHistoryRequest, _: Any
    ) -> service.GetBookingHistoryResponse:
        return wire.history(await usecases.booking_history(self._ports, current().principal, request.booking_id))

    async def GetCancellationQuote(
        self, request: service.GetCancellationQuoteRequest, _: Any
    ) -> service.CancellationQuote:
        quote = await usecases.cancellation_quote(self._ports, current().principal, request.booking_id)
        return wire.cancellation_quote(quote)

    async def CancelBooking(self, request: service.CancelBookingRequest, _: Any) -> messages.Booking:
        call = current()
        command = wire.cancel_booking(request)
        return wire.booking(await usecases.cancel_booking(self._ports, call.principal, command, call.idempotency))

    async def AttemptBookingPayment(self, request: service.AttemptBookingPaymentRequest, _: Any) -> messages.Booking:
        call = current()
        command = wire.attempt_payment(request)
        if call.idempotency is None:
            raise IdempotencyKeyInvalid
        return wire.booking(await usecases.attempt_payment(self._ports, call.principal, command, call.idempotency))


class BookingDirectoryRpc(BookingDirectoryServiceServicer):
    """BookingDirectoryService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def DescribeBooking(self, request: service.DescribeBookingRequest, _: Any) -> messages.Booking:
        return wire.booking(await usecases.describe_booking(self._ports, current().principal, request.booking_id))


async def _page(request: ListRequest, arguments: str, find: Lister) -> service.ListBookingsResponse:
    """By page and limit, or by tokens: the contract lets a caller use one of the two ways."""
    limit = paging.page_size(request.limit or request.page_size, default=DEFAULT_PAGE, maximum=MAX_PAGE)
    bound = arguments.encode()
    if request.page_token:
        window = Window(limit, after=_after(request.page_token, bound))
        page = 0
    else:
        page = max(request.page, 1)
        window = Window(limit, skip=(page - 1) * limit)
    views, listed = await find(window)
    token = paging.encode({"after": views[-1].booking.booking_id}, bound) if listed.more and views else ""
    walking = bool(request.page_token or request.page_size)
    shown = service.Pagination(page=0 if walking else page, limit=limit, total=listed.total, next_page_token=token)
    return wire.booking_list(views, shown)


def _after(page_token: str, arguments: bytes) -> str:
    after = paging.decode(page_token, arguments).get("after")
    if not isinstance(after, str) or not is_id("bkg", after):
        raise PageTokenInvalid
    return after
