"""The booking itself: an immutable record, and every step that it can take from one state to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from services.booking.domain.codes import new_code
from services.booking.domain.items import Item, PricedItem
from services.booking.domain.payment import Charge, PaymentStatus, Refund, RefundStatus
from services.booking.domain.transitions import Status
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money

BOOK_STEP = "book"  # names a booking's first hold and its payment, towards inventory and payment
LATE_STEP = "late"  # names the second hold, and the refund, of a payment that came too late
CANCEL_STEP = "cancel"  # names the refund of a cancellation
SERVICE = "booking"  # the actor of what nobody asked for

# How long after the last answer payment is asked by itself, try by try; the last one repeats.
ASK_AFTER_SECONDS = (5, 5, 10, 15, 20, 30)


class Step(StrEnum):
    """What the saga does next. Each can be taken twice without harm."""

    HOLD = "HOLD"  # have inventory price and keep the units; whoever begins here goes on to PAY without storing it
    PAY = "PAY"  # have payment begun, and confirmed where there is a token
    AWAIT = "AWAIT"  # wait for the payment, and ask for it when nothing is heard
    POST = "POST"  # it is paid: have inventory sell the units
    LATE_HOLD = "LATE_HOLD"  # it is paid, but the units went: keep them once more
    STOP_PAYMENT = "STOP_PAYMENT"  # have the payment cancelled, or learn that it succeeded
    RELEASE = "RELEASE"  # have inventory free the units
    REFUND = "REFUND"  # have payment give back what is due
    DONE = "DONE"


# What asks payment itself, and acts on its answer: what payment tells meanwhile adds nothing to that.
ASKING = frozenset({Step.HOLD, Step.PAY, Step.STOP_PAYMENT, Step.REFUND})
# What the saga takes without waiting for anybody outside.
MOVING = frozenset(Step) - {Step.AWAIT, Step.DONE}


@dataclass(frozen=True, slots=True)
class Guest:
    """Who comes: personal data, which stays in the bookings table."""

    first_name: str
    last_name: str
    email: str
    phone: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: items, or a quote or a hold that names them."""

    items: tuple[Item, ...] = ()
    quote_id: str = ""
    hold_id: str = ""

    @property
    def first_id(self) -> str:
        """The id whose shard the booking inherits."""
        return self.items[0].resource_id if self.items else self.quote_id or self.hold_id


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a booking failed, as its caller hears it."""

    reason: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a PENDING booking is to end, decided before units and payment are given up."""

    status: Status
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Booking:
    """One booking as it stands. `version` rises with every stored change; a change of a stale one is refused."""

    booking_id: str
    tenant_id: str
    user_id: str
    confirmation_code: str
    order: Order
    guest: Guest = field(repr=False)
    payment_method: str
    create_time: datetime
    update_time: datetime
    payment_due_time: datetime
    status_actor: str
    status_reason: str
    status: Status = Status.PENDING
    version: int = 1
    vendor_id: str = ""
    items: tuple[PricedItem, ...] = ()
    total: Money | None = None
    payment_token: str = field(default="", repr=False)  # kept only until payment has it
    payment_id: str = ""
    payment_status: PaymentStatus | None = None
    payment_error: str = ""
    payment_version: int = 0
    refund_id: str = ""
    refund_minor: int = 0
    refund_status: RefundStatus | None = None
    cancel_reason: str = ""
    failure: Failure | None = None
    confirm_time: datetime | None = None
    cancel_time: datetime | None = None
    step: Step = Step.HOLD
    hold_step: str = BOOK_STEP
    ending: Ending | None = None
    run_time: datetime | None = None  # when the worker looks next; a step's lease while somebody takes it
    attempts: int = 0  # of the present step

    @property
    def etag(self) -> str:
        """The version, as callers see it."""
        return f"v{self.version}"

    @property
    def moving(self) -> bool:
        """Whether the saga has something to do right now."""
        return self.step in MOVING

    @property
    def asking(self) -> bool:
        """Whether the present step gets payment's own answer."""
        return self.step in ASKING

    @property
    def resumed(self) -> bool:
        """Whether the present step was begun before, by somebody who has not ended it."""
        return self.attempts > 0

    @property
    def refund_step(self) -> str:
        """How the refund is named towards payment."""
        return LATE_STEP if self.status is Status.EXPIRED else CANCEL_STEP

    @property
    def refund_reason(self) -> str:
        """Why money is given back, as payment keeps it."""
        return "late" if self.status is Status.EXPIRED else "cancelled"

    @property
    def refund(self) -> Money | None:
        """What is given back; None where nothing is."""
        return Money(self.total.currency, self.refund_minor) if self.total and self.refund_status else None

    def overdue(self, now: datetime) -> bool:
        """Whether the time to pay is over."""
        return now >= self.payment_due_time

    def held(self, items: tuple[PricedItem, ...], total: Money, now: datetime, lease: datetime) -> Booking:
        """HOLD → PAY: the units are kept at these prices; what costs nothing needs no payment."""
        return self._moved(Step.PAY if total.minor else Step.POST, now, lease, **self._learned(items, total))

    def kept(self, items: tuple[PricedItem, ...], total: Money) -> Booking:
        """With what is kept for it, unless it is known. The step stays."""
        return replace(self, **self._learned(items, total))

    def failed(self, failure: Failure, now: datetime) -> Booking:
        """HOLD → FAILED: inventory refused, so nothing is kept anywhere."""
        return self._moved(
            Step.DONE,
            now,
            None,
            status=Status.FAILED,
            status_actor=SERVICE,
            status_reason=failure.reason,
            failure=failure,
        )

    def undoing(self, failure: Failure, now: datetime, lease: datetime, *, step: Step) -> Booking:
        """Give up what was begun, from `step` on, and then fail."""
        ending = Ending(Status.FAILED, SERVICE, failure.reason)
        return self._moved(step, now, lease, ending=ending, failure=failure)

    def expiring(self, now: datetime, lease: datetime) -> Booking:
        """The time to pay is over: stop the payment, then end."""
        ending = Ending(Status.EXPIRED, SERVICE, "NOT_PAID_IN_TIME")
        return self._moved(Step.STOP_PAYMENT, now, lease, ending=ending)

    def heard(self, charge: Charge, now: datetime) -> Booking:
        """Note what payment tells, unless something newer was heard. The step stays."""
        if charge.version < self.payment_version:
            return self
        refund = self._mine(charge.refunds)
        told = replace(
            self,
            # A run that died may have charged before anything was stored of what it kept.
            total=self.total or charge.paid,
            payment_id=charge.payment_id or self.payment_id,
            payment_status=charge.status,
            payment_error=charge.last_error,
            payment_version=charge.version,
            refund_id=refund.refund_id if refund else self.refund_id,
            refund_status=refund.status if refund else self.refund_status,
        )
        return self if told == self else replace(told, update_time=now)

    def after_payment(self, now: datetime, lease: datetime) -> Booking:
        """Where the saga goes by what was last heard of the payment."""
        paid = self.payment_status is PaymentStatus.SUCCEEDED
        if self.status is not Status.PENDING:
            return self._owing(now, lease) if paid else self
        if self.step in {Step.PAY, Step.AWAIT}:
            if paid:
                return self._moved(Step.POST, now, lease)
            if self.payment_status is PaymentStatus.CANCELLED:
                # Not by us: then units that nobody can pay for any more are not kept either.
                ending = Ending(Status.EXPIRED, SERVICE, "PAYMENT_CANCELLED")
                return self._moved(Step.RELEASE, now, lease, ending=ending)
            return self._moved(Step.AWAIT, now, self.next_ask(now, attempts=0))
        if self.step is Step.STOP_PAYMENT:
            # Paid at the last moment: one whose time was over is sold after all, one that nobody wants any more is not.
            if paid and self.ending is not None and self.ending.status is Status.EXPIRED:
                return self._moved(Step.POST, now, lease, ending=None)
            if paid and self.ending is not None and self.ending.status is Status.FAILED:
                return self.units_gone(now, lease)
            if paid or self.payment_status is PaymentStatus.CANCELLED:
                return self._moved(Step.RELEASE, now, lease)
        return self

    def next_ask(self, now: datetime, *, attempts: int) -> datetime:
        """When payment is asked by itself, at the latest when the time to pay is over."""
        seconds = ASK_AFTER_SECONDS[min(attempts, len(ASK_AFTER_SECONDS) - 1)]
        return min(now + timedelta(seconds=seconds), self.payment_due_time)

    def confirmed(self, now: datetime) -> Booking:
        """POST → CONFIRMED: inventory has sold the units."""
        reason = "PAID" if self.total is not None and self.total.minor else "FREE_OF_CHARGE"
        return self._moved(
            Step.DONE,
            now,
            None,
            status=Status.CONFIRMED,
            status_actor=SERVICE,
            status_reason=reason,
            confirm_time=now,
        )

    def hold_lost(self, now: datetime, lease: datetime) -> Booking:
        """POST → LATE_HOLD: the payment came after the hold's end. A second time, everything is given back."""
        if self.hold_step == LATE_STEP:
            return self.units_gone(now, lease)
        return self._moved(Step.LATE_HOLD, now, lease, hold_step=LATE_STEP)

    def held_again(self, items: tuple[PricedItem, ...], total: Money, now: datetime, lease: datetime) -> Booking:
        """LATE_HOLD → POST, where the price is still the one that was paid."""
        if total != self.total:
            return self.units_gone(now, lease)
        return self._moved(Step.POST, now, lease, **self._learned(items, total))

    def units_gone(self, now: datetime, lease: datetime) -> Booking:
        """It is paid, and cannot be had any more: end it and give everything back."""
        return self._moved(Step.RELEASE, now, lease, ending=Ending(Status.EXPIRED, SERVICE, "UNITS_GONE"))

    def released(self, now: datetime, lease: datetime) -> Booking:
        """RELEASE → the end that was decided, with what was paid given back; a cancelled one goes on to its refund."""
        if self.status is not Status.PENDING:
            owing = self.refund_status is RefundStatus.PENDING
            return self._moved(Step.REFUND, now, lease) if owing else self._moved(Step.DONE, now, None)
        if self.ending is None:
            raise AssertionError("Units are given up only once it is decided how the booking ends.")
        ended = self._moved(
            Step.DONE,
            now,
            None,
            status=self.ending.status,
            status_actor=self.ending.actor,
            status_reason=self.ending.reason,
            cancel_time=now if self.ending.status is Status.CANCELLED else None,
            ending=None,
        )
        return ended.after_payment(now, lease)

    def cancelled(self, ending: Ending, words: str, refund: Money | None, now: datetime, lease: datetime) -> Booking:
        """CONFIRMED → CANCELLED with `refund` due; a PENDING one is first freed of its payment and its units."""
        if self.status is Status.PENDING:
            step = Step.RELEASE if self.step is Step.RELEASE else Step.STOP_PAYMENT
            return self._moved(step, now, lease, ending=ending, cancel_reason=words)
        due = refund.minor if refund else 0
        return self._moved(
            Step.RELEASE,
            now,
            lease,
            status=Status.CANCELLED,
            status_actor=ending.actor,
            status_reason=ending.reason,
            cancel_reason=words,
            cancel_time=now,
            refund_minor=due,
            refund_status=RefundStatus.PENDING if due else None,
        )

    def refunded(self, now: datetime) -> Booking:
        """REFUND → done: payment has taken the refund over, and tells how it goes on."""
        return self._moved(Step.DONE, now, None)

    def refund_refused(self, now: datetime) -> Booking:
        """REFUND → done: payment will not give it back; an operator must look."""
        return self._moved(Step.DONE, now, None, refund_status=RefundStatus.FAILED)

    def due(self, run_time: datetime) -> Booking:
        """The same, to be looked at then, with its attempts counted anew."""
        return replace(self, run_time=run_time, attempts=0)

    def _owing(self, now: datetime, lease: datetime) -> Booking:
        # Whoever paid for what was never confirmed gets everything back, whatever else has been decided.
        if self.confirm_time is not None or self.refund_status is not None or self.total is None:
            return self
        return replace(
            self,
            step=Step.REFUND,
            run_time=lease,
            attempts=0,
            refund_minor=self.total.minor,
            refund_status=RefundStatus.PENDING,
            update_time=now,
        )

    def _learned(self, items: tuple[PricedItem, ...], total: Money) -> dict[str, Any]:
        return {} if self.items else {"items": items, "total": total, "vendor_id": items[0].vendor_id}

    def _mine(self, refunds: tuple[Refund, ...]) -> Refund | None:
        if self.refund_status is None:
            return None
        if self.refund_id:
            return next((refund for refund in refunds if refund.refund_id == self.refund_id), None)
        return next(
            (
                refund
                for refund in reversed(refunds)
                if (refund.reason, refund.amount.minor) == (self.refund_reason, self.refund_minor)
            ),
            None,
        )

    def _moved(self, step: Step, now: datetime, run_time: datetime | None, **changes: object) -> Booking:
        token = self.payment_token if step is Step.PAY else ""
        moved: Booking = replace(
            self,
            step=step,
            run_time=run_time,
            attempts=0,
            update_time=now,
            payment_token=token,
            **changes,  # type: ignore[arg-type]  # each caller above names fields of this class
        )
        return moved


def new_booking(
    *,
    tenant_id: str,
    user_id: str,
    order: Order,
    guest: Guest,
    payment_method: str,
    payment_token: str,
    now: datetime,
    payment_window: timedelta,
    lease: datetime,
) -> Booking:
    """A booking as it is first stored, before anything was asked of anybody."""
    return Booking(
        booking_id=new_id("bkg", at=now, shard=shard_of(order.first_id)),
        tenant_id=tenant_id,
        user_id=user_id,
        confirmation_code=new_code(),
        order=order,
        guest=guest,
        payment_method=payment_method,
        payment_token=payment_token,
        create_time=now,
        update_time=now,
        payment_due_time=now + payment_window,
        status_actor=user_id,
        status_reason="REQUESTED",
        run_time=lease,
    )
