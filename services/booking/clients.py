"""Inventory and payment behind our ports: their stubs, and their refusals in our words."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import grpc
from berth.inventory.v1 import availability_service_pb2 as inventory
from berth.inventory.v1.availability_service_pb2_grpc import BookingHoldServiceStub
from berth.payment.v1 import payment_service_pb2 as payment
from berth.payment.v1.payment_service_pb2_grpc import ChargeServiceStub
from google.protobuf.duration_pb2 import Duration

from services.booking import wire
from services.booking.domain import (
    BOOK_STEP,
    BookingStateInvalid,
    Charge,
    HoldEnded,
    ItemsIncompatible,
    NotBookable,
    Order,
    PaymentTokenInvalid,
    QuoteInvalid,
    SlotTaken,
    Status,
)
from services.booking.ports import AmountRefused, Held, Mandate
from services.chassis.errors import InvalidField, NotFound, Refusal
from services.chassis.money import Money
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError, refusal_of

T = TypeVar("T")


class RemoteInventory:
    """Inventory's BookingHoldService."""

    def __init__(self, channels: Channels) -> None:
        self._stub: Any = channels.stub(BookingHoldServiceStub, "inventory")

    async def place(self, mandate: Mandate, step: str, order: Order, ttl: timedelta) -> Held:
        request = inventory.PlaceBookingHoldRequest(
            booking_id=mandate.booking_id,
            step=step,
            user_id=mandate.user_id,
            items=[wire.item_message(item) for item in order.items],
            quote_id=order.quote_id,
            hold_id=order.hold_id,
            ttl=_duration(ttl),
        )
        try:
            hold = await self._stub.PlaceBookingHold(request)
        except RemoteError as error:
            raise _hold_refusal(error, order) from error
        return _held(hold)

    async def post(self, mandate: Mandate, step: str) -> None:
        await self._post(mandate, step)

    async def post_unseen(self, mandate: Mandate, step: str) -> Held:
        return _held(await self._post(mandate, step))

    async def void(self, mandate: Mandate, step: str) -> None:
        request = inventory.VoidHoldRequest(booking_id=mandate.booking_id, step=step)
        await _hold_call(self._stub.VoidHold(request))

    async def cancel_posted(self, mandate: Mandate, step: str) -> None:
        request = inventory.CancelPostedHoldRequest(booking_id=mandate.booking_id, step=step)
        await _hold_call(self._stub.CancelPostedHold(request))

    async def _post(self, mandate: Mandate, step: str) -> inventory.Hold:
        hold: inventory.Hold = await _hold_call(
            self._stub.PostHold(inventory.PostHoldRequest(booking_id=mandate.booking_id, step=step))
        )
        return hold


class RemotePayments:
    """Payment's ChargeService."""

    def __init__(self, channels: Channels) -> None:
        self._stub: Any = channels.stub(ChargeServiceStub, "payment")

    async def start(self, mandate: Mandate, vendor_id: str, amount: Money, token: str) -> Charge:
        request = payment.StartPaymentRequest(
            booking_id=mandate.booking_id,
            step=BOOK_STEP,
            amount=wire.money_message(amount),
            user_id=mandate.user_id,
            vendor_id=vendor_id,
            token=token,
        )
        with _translated():
            try:
                return _charge(await self._stub.StartPayment(request))
            except RemoteError as error:
                if error.reason == InvalidField.reason and any(
                    at.field.startswith("amount") for at in error.violations
                ):
                    raise AmountRefused from error
                raise

    async def attempt(self, mandate: Mandate, attempt: str, token: str) -> Charge:
        request = payment.AttemptPaymentRequest(booking_id=mandate.booking_id, attempt=attempt, token=token)
        with _translated():
            return _charge(await self._stub.AttemptPayment(request))

    async def get(self, mandate: Mandate, *, refresh: bool) -> Charge:
        request = payment.GetChargeRequest(booking_id=mandate.booking_id, refresh=refresh)
        with _translated():
            return _charge(await self._stub.GetCharge(request))

    async def cancel(self, mandate: Mandate, reason: str) -> Charge:
        request = payment.CancelPaymentRequest(booking_id=mandate.booking_id, reason=reason)
        with _translated():
            return _charge(await self._stub.CancelPayment(request))

    async def refund(self, mandate: Mandate, step: str, amount: Money, reason: str) -> Charge | None:
        request = payment.RefundPaymentRequest(
            booking_id=mandate.booking_id, step=step, amount=wire.money_message(amount), reason=reason
        )
        with _translated():
            try:
                return _charge(await self._stub.RefundPayment(request))
            except RemoteError as error:
                if error.reason in {"PAYMENT_STATE_INVALID", "REFUND_EXCEEDS_PAYMENT"}:
                    return None
                raise


def _held(hold: inventory.Hold) -> Held:
    return Held(tuple(wire.priced_item(item) for item in hold.items), wire.money(hold.total))


async def _hold_call(call: Awaitable[T]) -> T:
    try:
        return await call
    except RemoteError as error:
        # A step that never had a hold has none now: for its booking that is the same.
        if error.reason in {HoldEnded.reason, NotFound.reason}:
            raise HoldEnded from error
        raise refusal_of(error) or error from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        if error.reason == PaymentTokenInvalid.reason:
            raise PaymentTokenInvalid from error
        if error.reason == "PAYMENT_STATE_INVALID":
            raise BookingStateInvalid(status=Status.PENDING) from error
        raise refusal_of(error) or error from error


def _hold_refusal(error: RemoteError, order: Order) -> Refusal | RemoteError:
    match error.reason:
        case "UNITS_TAKEN":
            return SlotTaken(**_metadata(error))
        case "NOT_BOOKABLE":
            return NotBookable(error.message, **_metadata(error))
        case "QUOTE_INVALID":
            return QuoteInvalid()
        case "NOT_FOUND" if not order.hold_id:
            return NotFound(resource="resource")
        case "HOLD_ENDED" | "NOT_FOUND":
            return HoldEnded()
        case "INVALID_FIELD" if any(at.field == "items" for at in error.violations):
            return ItemsIncompatible()
        case "INVALID_FIELD" if error.code is grpc.StatusCode.INVALID_ARGUMENT:
            return InvalidField(violations=error.violations)
    return refusal_of(error) or error


def _metadata(error: RemoteError) -> dict[str, Any]:
    return dict(error.metadata)


def _charge(answer: payment.ChargeResponse) -> Charge:
    return wire.charge(answer.payment, answer.client_secret)


def _duration(length: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(length)
    return duration
