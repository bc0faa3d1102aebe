"""The saga: takes a booking step by step to where it can wait or end, whoever asks for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from services.booking.domain import (
    BOOK_STEP,
    LATE_STEP,
    Booking,
    Charge,
    Failure,
    HoldEnded,
    ItemsIncompatible,
    NotBookable,
    Order,
    PaymentStatus,
    PaymentTokenInvalid,
    QuoteInvalid,
    SlotTaken,
    Status,
    Step,
)
from services.booking.ports import AmountRefused, Mandate, Ports, Stale
from services.chassis.crash import crash_point
from services.chassis.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    DependencyUnavailable,
    InvalidField,
    NotFound,
    Overloaded,
    Refusal,
)

MAX_STEPS = 40  # of one run; more means that a step leads back to itself

# Whether what was asked for took effect is unknown, or it surely did not: either way the same step is taken again.
OUTAGES = (DependencyUnavailable, DeadlineExceeded, DeadlineTooShort, Overloaded)
_HOLD_REFUSALS = (SlotTaken, NotBookable, QuoteInvalid, HoldEnded, ItemsIncompatible, NotFound, InvalidField)


class Saga:
    """One run over one booking. `booking` is always what is stored; `outage` says what made the run stop early."""

    def __init__(self, ports: Ports, booking: Booking) -> None:
        self._ports = ports
        self.booking = booking
        self.client_secret = ""
        self.charging = False  # whether this run may have had something charged that is not stored
        self.outage: Refusal | None = None

    async def run(self) -> None:
        """Take steps while there is one to take and nothing is out."""
        for _ in range(MAX_STEPS):
            if not self.booking.moving:
                return
            if not await self._attempt(_STEPS[self.booking.step]):
                return
        raise RuntimeError(f"The booking's saga does not come to rest: it is at {self.booking.step}.")

    async def run_or_leave(self) -> None:
        """Run; where something is out, leave the rest to the worker, soon. What is stored is not lost by that."""
        await self.run()
        if self.outage is not None:
            with suppress(*OUTAGES):
                await self._ports.bookings.postpone(self.booking, self._ports.clock.now() + backoff(0))

    async def ask(self) -> None:
        """AWAIT: end the waiting when its time is over, else ask payment how it stands."""
        await self._attempt(_await)

    async def take(self, charge: Charge) -> None:
        """Note what payment answered, on whatever state the booking has come to."""
        for _ in range(MAX_STEPS):
            now = self._ports.clock.now()
            try:
                return await self.save(self.booking.heard(charge, now).after_payment(now, lease_from(self._ports, now)))
            except Stale:
                await self._reload()
        raise DependencyUnavailable("The booking changes too fast.")

    async def save(self, after: Booking) -> None:
        """Store the next state."""
        if after != self.booking:
            self.booking = await self._ports.bookings.save(self.booking, after)

    async def _attempt(self, step: Callable[[Saga, Ports], Awaitable[None]]) -> bool:
        """Take one step; False when something is out."""
        try:
            await step(self, self._ports)
        except Stale:
            await self._reload()
        except OUTAGES as outage:
            self.outage = outage
            return False
        return True

    async def _reload(self) -> None:
        # Somebody else came first: theirs is the state to act on.
        current = await self._ports.bookings.get(self.booking.tenant_id, self.booking.booking_id)
        if current is None:
            raise RuntimeError("A booking has vanished.")
        self.booking = current

    @property
    def mandate(self) -> Mandate:
        """The booking and the person that others are asked for."""
        return Mandate(self.booking.tenant_id, self.booking.booking_id, self.booking.user_id)


async def resume(ports: Ports, booking: Booking) -> Booking:
    """Go on with a booking that the worker has taken because it was due."""
    saga = Saga(ports, booking)
    if booking.step is Step.AWAIT:
        await saga.ask()
    if saga.outage is None:
        await saga.run()
    if saga.outage is not None:
        await ports.bookings.postpone(saga.booking, ports.clock.now() + backoff(saga.booking.attempts))
    return saga.booking


def backoff(attempts: int) -> timedelta:
    """How long a step that met an outage waits for its next attempt."""
    return timedelta(seconds=min(0.5 * 2 ** min(attempts, 5), 10.0))


def lease_from(ports: Ports, now: datetime) -> datetime:
    """Until when a step that begins now belongs to whoever takes it."""
    return now + ports.times.lease


async def _hold(saga: Saga, ports: Ports) -> None:
    booking, now = saga.booking, ports.clock.now()
    if booking.overdue(now):
        await saga.save(booking.expiring(now, lease_from(ports, now)))
        return
    ttl = ports.times.payment_window + ports.times.hold_margin
    try:
        held = await ports.inventory.place(saga.mandate, BOOK_STEP, booking.order, ttl)
    except _HOLD_REFUSALS as refusal:
        await _refuse(saga, ports, refusal)
        return
    crash_point("booking.after_hold")
    now = ports.clock.now()
    if len({item.vendor_id for item in held.items}) > 1:
        undoing = booking.undoing(Failure(ItemsIncompatible.reason), now, lease_from(ports, now), step=Step.RELEASE)
        await saga.save(undoing)
        return
    kept = booking.held(held.items, held.total, now, lease_from(ports, now))
    if booking.resumed:
        # Another run may have come further: what is stored here also stops it.
        await saga.save(kept)
        return
    saga.charging = True
    try:
        await (_charge if kept.step is Step.PAY else _sell)(saga, ports, kept)
    except OUTAGES:
        # Now it is worth storing what is kept: the worker goes on from there, and soon.
        await saga.save(kept)
        raise


async def _refuse(saga: Saga, ports: Ports, refusal: Refusal) -> None:
    booking, now = saga.booking, ports.clock.now()
    failure = Failure(refusal.reason, refusal.metadata)
    if booking.resumed:
        # The run before this one may still be under way: it is to find both doors shut.
        await saga.save(booking.undoing(failure, now, lease_from(ports, now), step=Step.STOP_PAYMENT))
    else:
        await saga.save(booking.failed(failure, now))


async def _pay(saga: Saga, ports: Ports) -> None:
    booking, now = saga.booking, ports.clock.now()
    if booking.overdue(now):
        await saga.save(booking.expiring(now, lease_from(ports, now)))
    else:
        await _charge(saga, ports, booking)


async def _charge(saga: Saga, ports: Ports, booking: Booking) -> None:
    if booking.total is None:
        raise AssertionError("What is paid has a price: the hold told it.")
    try:
        charge = await ports.payments.start(saga.mandate, booking.vendor_id, booking.total, booking.payment_token)
    except (PaymentTokenInvalid, AmountRefused) as refusal:
        now = ports.clock.now()
        failure = _payment_failure(booking, refusal)
        await saga.save(booking.undoing(failure, now, lease_from(ports, now), step=Step.STOP_PAYMENT))
        return
    crash_point("booking.after_payment")
    saga.client_secret = charge.client_secret
    now = ports.clock.now()
    heard = booking.heard(charge, now)
    if heard.payment_status is PaymentStatus.SUCCEEDED:
        # What is paid is then sold, so nothing is stored before it is: a run that ends here is taken up where the
        # booking stands, and payment answers the same success.
        await _sell(saga, ports, heard)
    else:
        await saga.save(heard.after_payment(now, lease_from(ports, now)))


def _payment_failure(booking: Booking, refusal: PaymentTokenInvalid | AmountRefused) -> Failure:
    if isinstance(refusal, PaymentTokenInvalid):
        return Failure(refusal.reason)
    details = {"refusals": "AMOUNT_REFUSED", "resourceId": booking.items[0].item.resource_id}
    return Failure(NotBookable.reason, details)


async def _post(saga: Saga, ports: Ports) -> None:
    await _sell(saga, ports, saga.booking)


async def _sell(saga: Saga, ports: Ports, paid: Booking) -> None:
    try:
        if paid.items:
            await ports.inventory.post(saga.mandate, paid.hold_step)
        else:
            # Kept and paid by a run that stored neither.
            held = await ports.inventory.post_unseen(saga.mandate, paid.hold_step)
            paid = paid.kept(held.items, held.total)
    except HoldEnded:
        now = ports.clock.now()
        await saga.save(paid.hold_lost(now, lease_from(ports, now)))
        return
    crash_point("booking.after_post")
    await saga.save(paid.confirmed(ports.clock.now()))


async def _late_hold(saga: Saga, ports: Ports) -> None:
    booking = saga.booking
    order = Order(items=tuple(sold.item for sold in booking.items)) if booking.items else booking.order
    try:
        held = await ports.inventory.place(saga.mandate, LATE_STEP, order, ports.times.late_hold)
    except _HOLD_REFUSALS:
        now = ports.clock.now()
        await saga.save(booking.units_gone(now, lease_from(ports, now)))
        return
    now = ports.clock.now()
    await saga.save(booking.held_again(held.items, held.total, now, lease_from(ports, now)))


async def _await(saga: Saga, ports: Ports) -> None:
    booking, now = saga.booking, ports.clock.now()
    if booking.overdue(now):
        await saga.save(booking.expiring(now, lease_from(ports, now)))
        return
    charge = await ports.payments.get(saga.mandate, refresh=True)
    now = ports.clock.now()
    heard = booking.heard(charge, now)
    if heard is booking:
        await ports.bookings.postpone(booking, booking.next_ask(now, attempts=booking.attempts))
    else:
        await saga.save(heard.after_payment(now, lease_from(ports, now)))


async def _stop_payment(saga: Saga, ports: Ports) -> None:
    booking = saga.booking
    reason = booking.ending.status.lower() if booking.ending else "expired"
    charge = await ports.payments.cancel(saga.mandate, reason)
    now = ports.clock.now()
    stopped = booking.heard(charge, now).after_payment(now, lease_from(ports, now))
    if stopped.step is Step.STOP_PAYMENT:
        raise DependencyUnavailable("Payment has not decided yet whether it cancelled.")
    await saga.save(stopped)


async def _release(saga: Saga, ports: Ports) -> None:
    booking = saga.booking
    if booking.status is Status.PENDING:
        try:
            await ports.inventory.void(saga.mandate, booking.hold_step)
        except HoldEnded:
            # Sold by a confirmation that lost: its units are freed all the same.
            await ports.inventory.cancel_posted(saga.mandate, booking.hold_step)
    else:
        # That nothing is sold to this booking is what was wanted; the refund must not wait for an explanation.
        with suppress(HoldEnded):
            await ports.inventory.cancel_posted(saga.mandate, booking.hold_step)
    now = ports.clock.now()
    await saga.save(booking.released(now, lease_from(ports, now)))


async def _refund(saga: Saga, ports: Ports) -> None:
    booking = saga.booking
    if booking.refund is None:
        raise AssertionError("A refund is taken only where one is due.")
    charge = await ports.payments.refund(saga.mandate, booking.refund_step, booking.refund, booking.refund_reason)
    crash_point("booking.after_refund")
    now = ports.clock.now()
    if charge is None:
        await saga.save(booking.refund_refused(now))
    else:
        await saga.save(booking.heard(charge, now).refunded(now))


_STEPS: Mapping[Step, Callable[[Saga, Ports], Awaitable[None]]] = {
    Step.HOLD: _hold,
    Step.PAY: _pay,
    Step.POST: _post,
    Step.LATE_HOLD: _late_hold,
    Step.STOP_PAYMENT: _stop_payment,
    Step.RELEASE: _release,
    Step.REFUND: _refund,
}
