"""Between a booking and its row: what columns hold, and how items lie in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from services.booking.domain import (
    Booking,
    Ending,
    Failure,
    Guest,
    Item,
    Order,
    PaymentStatus,
    Policy,
    PricedItem,
    PriceKind,
    PriceLine,
    RefundStatus,
    Status,
    Step,
)
from services.chassis.money import Money

# Fields that have a column of the same name, holding the same.
_PLAIN = frozenset(
    {
        "booking_id", "tenant_id", "user_id", "vendor_id", "status", "status_actor", "status_reason",
        "confirmation_code", "payment_method", "payment_token", "payment_id", "payment_status", "payment_error",
        "payment_version", "refund_id", "refund_minor", "refund_status", "cancel_reason", "step", "hold_step",
        "create_time", "update_time", "payment_due_time", "confirm_time", "cancel_time",
    }
)  # fmt: skip
_FIELDS = tuple(field.name for field in fields(Booking) if field.name not in {"version", "run_time", "attempts"})


def new_row(booking: Booking) -> dict[str, object]:
    """What is stored of a booking that was just asked for."""
    guest = booking.guest
    return {
        "booking_id": booking.booking_id,
        "tenant_id": booking.tenant_id,
        "user_id": booking.user_id,
        "status": booking.status,
        "status_actor": booking.status_actor,
        "status_reason": booking.status_reason,
        "version": booking.version,
        "confirmation_code": booking.confirmation_code,
        "asked": _order_json(booking.order),
        "first_name": guest.first_name,
        "last_name": guest.last_name,
        "email": guest.email,
        "phone": guest.phone,
        "payment_method": booking.payment_method,
        "payment_token": booking.payment_token,
        "step": booking.step,
        "hold_step": booking.hold_step,
        "run_time": _instant(booking.run_time),
        "create_time": _instant(booking.create_time),
        "update_time": _instant(booking.update_time),
        "payment_due_time": _instant(booking.payment_due_time),
    }


def changes(before: Booking, after: Booking) -> dict[str, object]:
    """The columns in which two states of a booking differ, and those that workers change without a new version."""
    found: dict[str, object] = {"run_time": _instant(after.run_time), "attempts": after.attempts}
    for name in _FIELDS:
        value = getattr(after, name)
        if value is getattr(before, name) or value == getattr(before, name):
            continue
        if name in _PLAIN:
            found[name] = value.isoformat() if isinstance(value, datetime) else value
        elif name == "items":
            found["items"] = [_priced_json(item) for item in value]
        elif name == "total":
            found |= {"currency": value.currency, "total_minor": value.minor}
        elif name == "ending":
            found |= {
                "ending_status": value.status if value else None,
                "ending_actor": value.actor if value else "",
                "ending_reason": value.reason if value else "",
            }
        elif name == "failure":
            found |= {"failure_reason": value.reason, "failure_details": dict(value.details)}
        else:
            raise AssertionError(f"A booking's {name} does not change.")
    return found


def booking_of(row: Any) -> Booking:
    """The booking that a row holds."""
    return Booking(
        booking_id=row.booking_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        confirmation_code=row.confirmation_code,
        order=_order(row.asked),
        guest=Guest(row.first_name, row.last_name, row.email, row.phone),
        payment_method=row.payment_method,
        create_time=row.create_time,
        update_time=row.update_time,
        payment_due_time=row.payment_due_time,
        status_actor=row.status_actor,
        status_reason=row.status_reason,
        status=Status(row.status),
        version=row.version,
        vendor_id=row.vendor_id,
        items=tuple(_priced(item) for item in row.items),
        total=None if row.total_minor is None else Money(row.currency, row.total_minor),
        payment_token=row.payment_token,
        payment_id=row.payment_id,
        payment_status=PaymentStatus(row.payment_status) if row.payment_status else None,
        payment_error=row.payment_error,
        payment_version=row.payment_version,
        refund_id=row.refund_id,
        refund_minor=row.refund_minor,
        refund_status=RefundStatus(row.refund_status) if row.refund_status else None,
        cancel_reason=row.cancel_reason,
        failure=Failure(row.failure_reason, row.failure_details) if row.failure_reason else None,
        confirm_time=row.confirm_time,
        cancel_time=row.cancel_time,
        step=Step(row.step),
        hold_step=row.hold_step,
        ending=_ending(row),
        run_time=row.run_time,
        attempts=row.attempts,
    )


def _ending(row: Any) -> Ending | None:
    if row.ending_status is None:
        return None
    return Ending(Status(row.ending_status), row.ending_actor, row.ending_reason)


def _order_json(order: Order) -> dict[str, object]:
    if order.quote_id:
        return {"quote_id": order.quote_id}
    if order.hold_id:
        return {"hold_id": order.hold_id}
    return {"items": [_item_json(item) for item in order.items]}


def _order(asked: Mapping[str, Any]) -> Order:
    return Order(
        items=tuple(_item(item) for item in asked.get("items", ())),
        quote_id=asked.get("quote_id", ""),
        hold_id=asked.get("hold_id", ""),
    )


def _item_json(item: Item) -> dict[str, object]:
    if item.start_time is None:
        when: dict[str, object] = {"start_date": item.start_date, "end_date": item.end_date}
    else:
        when = {"start_time": _instant(item.start_time), "end_time": _instant(item.end_time)}
    return {"resource_id": item.resource_id, "quantity": item.quantity} | when


def _item(stored: Mapping[str, Any]) -> Item:
    return Item(
        resource_id=stored["resource_id"],
        start_date=stored.get("start_date", ""),
        end_date=stored.get("end_date", ""),
        start_time=_parsed(stored.get("start_time")),
        end_time=_parsed(stored.get("end_time")),
        quantity=stored["quantity"],
    )


def _priced_json(sold: PricedItem) -> dict[str, object]:
    return {
        "item": _item_json(sold.item),
        "vendor_id": sold.vendor_id,
        "resource_name": sold.resource_name,
        "time_zone": sold.time_zone,
        "begin_time": _instant(sold.begin_time),
        "finish_time": _instant(sold.finish_time),
        "currency": sold.total.currency,
        "total_minor": sold.total.minor,
        "policy": sold.policy,
        "lines": [
            {
                "kind": line.kind,
                "quantity": line.quantity,
                "unit_minor": line.unit_price.minor,
                "amount_minor": line.amount.minor,
            }
            for line in sold.lines
        ],
    }


def _priced(stored: Mapping[str, Any]) -> PricedItem:
    currency = stored["currency"]
    return PricedItem(
        item=_item(stored["item"]),
        vendor_id=stored["vendor_id"],
        resource_name=stored["resource_name"],
        time_zone=stored["time_zone"],
        begin_time=datetime.fromisoformat(stored["begin_time"]),
        finish_time=datetime.fromisoformat(stored["finish_time"]),
        lines=tuple(
            PriceLine(
                PriceKind(line["kind"]),
                line["quantity"],
                Money(currency, line["unit_minor"]),
                Money(currency, line["amount_minor"]),
            )
            for line in stored["lines"]
        ),
        total=Money(currency, stored["total_minor"]),
        policy=Policy(stored["policy"]),
    )


def _instant(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _parsed(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
