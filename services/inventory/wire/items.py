"""Items, prices, availability, quotes and holds on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from berth.inventory.v1 import availability_service_pb2 as messages
from berth.inventory.v1 import item_pb2
from google.protobuf import timestamp_pb2

from services.chassis.instants import instant_to
from services.inventory.domain.holds import Hold, Quote
from services.inventory.domain.items import Item, Nights, Obstacle, Times
from services.inventory.domain.pricing import PricedItem, PriceLine
from services.inventory.usecases.availability import Availability, CalendarDay, SlotState
from services.inventory.usecases.holds import PlaceBookingHold, PlaceHold
from services.inventory.wire.catalog import policy_to
from services.inventory.wire.fields import date_from, duration_from, instant_from, money_to


class SentItem(Protocol):
    """What an item and a check of availability have in common."""

    resource_id: str
    start_date: str
    end_date: str
    quantity: int

    @property
    def start_time(self) -> timestamp_pb2.Timestamp: ...

    @property
    def end_time(self) -> timestamp_pb2.Timestamp: ...


def item_from(sent: SentItem, field: str = "") -> Item:
    """Read an item; which of the two ranges it has was validated before."""
    at = f"{field}." if field else ""
    if sent.start_date:
        nights = Nights(date_from(sent.start_date, f"{at}start_date"), date_from(sent.end_date, f"{at}end_date"))
        return Item(sent.resource_id, nights, sent.quantity or 1)
    times = Times(instant_from(sent.start_time, f"{at}start_time"), instant_from(sent.end_time, f"{at}end_time"))
    return Item(sent.resource_id, times, sent.quantity or 1)


def items_from(sent: Iterable[item_pb2.Item]) -> tuple[Item, ...]:
    """Read items."""
    return tuple(item_from(item, f"items[{number}]") for number, item in enumerate(sent))


def item_to(item: Item) -> item_pb2.Item:
    """Write an item."""
    if isinstance(item.range, Nights):
        return item_pb2.Item(
            resource_id=item.resource_id,
            start_date=item.range.start.isoformat(),
            end_date=item.range.end.isoformat(),
            quantity=item.quantity,
        )
    return item_pb2.Item(
        resource_id=item.resource_id,
        start_time=instant_to(item.range.start),
        end_time=instant_to(item.range.end),
        quantity=item.quantity,
    )


def priced_item_to(priced: PricedItem) -> item_pb2.PricedItem:
    """Write a priced item."""
    return item_pb2.PricedItem(
        item=item_to(priced.item),
        vendor_id=priced.vendor_id,
        resource_name=priced.resource_name,
        time_zone=priced.time_zone,
        begin_time=instant_to(priced.begin_time),
        finish_time=instant_to(priced.finish_time),
        lines=[_line_to(line) for line in priced.lines],
        total=money_to(priced.total),
        cancellation_policy=policy_to(priced.cancellation_policy),
    )


def availability_to(item: Item, found: Availability) -> messages.CheckAvailabilityResponse:
    """Write whether an item can be booked."""
    return messages.CheckAvailabilityResponse(
        available=not found.obstacles,
        resource_id=item.resource_id,
        available_quantity=found.free,
        price=money_to(found.priced.total) if found.priced else None,
        lines=[_line_to(line) for line in found.priced.lines] if found.priced else [],
        refusals=[_refusal_to(obstacle) for obstacle in found.obstacles],
    )


def calendar_day_to(day: CalendarDay) -> messages.CalendarDay:
    """Write a day."""
    return messages.CalendarDay(
        date=day.day.isoformat(),
        available_quantity=day.free,
        unit_price=money_to(day.unit_price),
        refusals=[_refusal_to(obstacle) for obstacle in day.obstacles],
    )


def slot_to(slot: SlotState) -> messages.Slot:
    """Write a slot."""
    return messages.Slot(
        start_time=instant_to(slot.start),
        end_time=instant_to(slot.end),
        available_quantity=slot.free,
        refusals=[_refusal_to(obstacle) for obstacle in slot.obstacles],
    )


def quote_to(quote: Quote) -> messages.Quote:
    """Write a quote."""
    return messages.Quote(
        quote_id=quote.quote_id,
        items=[priced_item_to(item) for item in quote.items],
        total=money_to(quote.total),
        expire_time=instant_to(quote.expire_time),
        create_time=instant_to(quote.create_time),
    )


def hold_to(hold: Hold) -> messages.Hold:
    """Write a hold; one that never kept anything has no total."""
    return messages.Hold(
        hold_id=hold.hold_id,
        status=messages.Hold.Status.Value(hold.status),
        items=[priced_item_to(item) for item in hold.items],
        total=money_to(hold.total) if hold.items else None,
        expire_time=instant_to(hold.expire_time),
        create_time=instant_to(hold.create_time),
        booking_id=hold.booking_id,
    )


def hold_order_from(sent: messages.PlaceHoldRequest) -> PlaceHold:
    """Read what a person wants kept."""
    return PlaceHold(
        items=items_from(sent.items),
        quote_id=sent.quote_id,
        ttl=duration_from(sent.ttl) if sent.HasField("ttl") else None,
    )


def booking_order_from(sent: messages.PlaceBookingHoldRequest) -> PlaceBookingHold:
    """Read what a booking wants kept."""
    return PlaceBookingHold(
        booking_id=sent.booking_id,
        step=sent.step,
        user_id=sent.user_id,
        ttl=duration_from(sent.ttl),
        items=items_from(sent.items),
        quote_id=sent.quote_id,
        hold_id=sent.hold_id,
    )


def _line_to(line: PriceLine) -> item_pb2.PriceLine:
    return item_pb2.PriceLine(
        kind=item_pb2.PriceLine.Kind.Value(line.kind),
        quantity=line.quantity,
        unit_price=money_to(line.unit_price),
        amount=money_to(line.amount),
    )


def _refusal_to(obstacle: Obstacle) -> item_pb2.Refusal:
    return item_pb2.Refusal(code=item_pb2.Refusal.Code.Value(obstacle.code), at=obstacle.at, message=obstacle.message)
