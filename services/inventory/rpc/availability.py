"""Servicers of availability, quotes and holds."""

from __future__ import annotations

from typing import Any

from berth.inventory.v1 import availability_service_pb2 as messages
from berth.inventory.v1.availability_service_pb2_grpc import (
    AvailabilityServiceServicer,
    BookingHoldServiceServicer,
    HoldServiceServicer,
)

from services.chassis.rpc.context import current
from services.inventory.ports import Ports
from services.inventory.usecases import availability, holds
from services.inventory.wire import items as wire
from services.inventory.wire.fields import date_from, duration_from


class AvailabilityRpc(AvailabilityServiceServicer):
    """AvailabilityService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def CheckAvailability(
        self, request: messages.CheckAvailabilityRequest, _: Any
    ) -> messages.CheckAvailabilityResponse:
        item = wire.item_from(request)
        found = await availability.check_availability(self._ports, current().principal, item)
        return wire.availability_to(item, found)

    async def GetCalendar(self, request: messages.GetCalendarRequest, _: Any) -> messages.GetCalendarResponse:
        start, end = date_from(request.start_date, "start_date"), date_from(request.end_date, "end_date")
        days = await availability.get_calendar(self._ports, current().principal, request.resource_id, start, end)
        return messages.GetCalendarResponse(days=[wire.calendar_day_to(day) for day in days])

    async def ListSlots(self, request: messages.ListSlotsRequest, _: Any) -> messages.ListSlotsResponse:
        day = date_from(request.date, "date")
        resource, slots = await availability.list_slots(self._ports, current().principal, request.resource_id, day)
        return messages.ListSlotsResponse(slots=[wire.slot_to(slot) for slot in slots], time_zone=resource.time_zone)

    async def CreateQuote(self, request: messages.CreateQuoteRequest, _: Any) -> messages.Quote:
        call = current()
        items = wire.items_from(request.items)
        return wire.quote_to(await holds.create_quote(self._ports, call.principal, items, call.idempotency))


class HoldRpc(HoldServiceServicer):
    """HoldService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def PlaceHold(self, request: messages.PlaceHoldRequest, _: Any) -> messages.Hold:
        call = current()
        command = wire.hold_order_from(request)
        hold = await holds.place_hold(self._ports, call.principal, command, call.idempotency)
        call.location = f"/api/v1/holds/{hold.hold_id}"
        return wire.hold_to(hold)

    async def GetHold(self, request: messages.GetHoldRequest, _: Any) -> messages.Hold:
        return wire.hold_to(await holds.get_hold(self._ports, current().principal, request.hold_id))

    async def ExtendHold(self, request: messages.ExtendHoldRequest, _: Any) -> messages.Hold:
        call = current()
        ttl = duration_from(request.ttl)
        hold = await holds.extend_hold(self._ports, call.principal, request.hold_id, ttl, call.idempotency)
        return wire.hold_to(hold)

    async def ReleaseHold(self, request: messages.ReleaseHoldRequest, _: Any) -> messages.Hold:
        call = current()
        return wire.hold_to(await holds.release_hold(self._ports, call.principal, request.hold_id, call.idempotency))


class BookingHoldRpc(BookingHoldServiceServicer):
    """BookingHoldService."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def PlaceBookingHold(self, request: messages.PlaceBookingHoldRequest, _: Any) -> messages.Hold:
        command = wire.booking_order_from(request)
        return wire.hold_to(await holds.place_booking_hold(self._ports, current().principal, command))

    async def PostHold(self, request: messages.PostHoldRequest, _: Any) -> messages.Hold:
        caller = current().principal
        return wire.hold_to(await holds.post_hold(self._ports, caller, request.booking_id, request.step))

    async def VoidHold(self, request: messages.VoidHoldRequest, _: Any) -> messages.VoidHoldResponse:
        await holds.void_hold(self._ports, current().principal, request.booking_id, request.step)
        return messages.VoidHoldResponse()

    async def CancelPostedHold(self, request: messages.CancelPostedHoldRequest, _: Any) -> messages.Hold:
        caller = current().principal
        return wire.hold_to(await holds.cancel_posted_hold(self._ports, caller, request.booking_id, request.step))
