"""Owns the monolith's one verb: claim, keep and store in one transaction; charge; sell and confirm in another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from scripts.bench.monolith import store
from scripts.bench.monolith.asked import CreateBooking
from services.booking.domain import (
    BOOK_STEP,
    Booking,
    Charge,
    Failure,
    PaymentStatus,
    Policy,
    PricedItem,
    PriceKind,
    PriceLine,
    Step,
    new_booking,
)
from services.chassis.clock import Clock
from services.chassis.errors import DependencyUnavailable, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.idempotency.store import claim
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.inventory.domain.errors import HoldEnded
from services.inventory.domain.holds import Hold
from services.inventory.ports import Directory, Grants
from services.inventory.ports import Ports as InventoryPorts
from services.inventory.store.catalog import SqlCatalog
from services.inventory.store.holds import SqlHolds
from services.inventory.usecases.holds import PlaceBookingHold, place_booking_hold
from services.payment.clients.stripe import StripeProvider
from services.payment.domain.payments import (
    PAYABLE,
    Payment,
    PaymentTokenInvalid,
    ProviderIntent,
    Status,
    follow,
    give_up_start,
)
from services.payment.ports import OutcomeUnknown
from services.payment.store.payments import StoredPayments

PAYMENT_WINDOW = timedelta(minutes=15)
HOLD_MARGIN = timedelta(minutes=2)
LEASE = timedelta(seconds=15)  # after which the worker takes a booking over
MAX_RACES = 5  # lost to the webhook, or the worker


@dataclass(frozen=True, slots=True)
class Booked:
    """What the caller gets."""

    booking: Booking
    client_secret: str = ""


class Monolith:
    """Bookings over one database and the provider."""

    def __init__(self, engine: AsyncEngine, provider: StripeProvider, clock: Clock) -> None:
        self._database = store.OneDatabase(engine)
        self._provider = provider
        self._clock = clock
        self._catalog = SqlCatalog(self._database.as_database(), clock)

    async def book(self, caller: Principal, asked: CreateBooking, key: IdempotencyKey | None) -> Booked:
        """Book: CONFIRMED when a token paid it at once."""
        now = self._clock.now()
        booking = new_booking(
            tenant_id=caller.tenant_id,
            user_id=caller.subject,
            order=asked.order(),
            guest=asked.guest(),
            payment_method=asked.payment_method or "credit_card",
            payment_token=asked.payment_details.token,
            now=now,
            payment_window=PAYMENT_WINDOW,
            lease=now + LEASE,
        )
        # Read, or remembered, before the transaction: whoever holds a connection should not wait for another.
        await self._catalog.remembered(caller.tenant_id, [asked.resource_id])
        async with self._database.transaction(caller.tenant_id) as connection:
            if key is not None:
                claimed = await claim(connection, key, booking.booking_id, now)
                if not claimed.first:
                    return Booked(await _found(connection, claimed.resource_id))
            hold = await self._hold(connection, caller, booking, asked)
            held = booking.held(_sold(booking, hold), hold.total, now, now + LEASE)
            held = await store.add_booking(connection, booking, held, key)
            payment = _payment(held, now)
            await store.add_payment(connection, payment)
        return await self._charge(held, payment, asked.payment_details.token)

    async def _hold(
        self, connection: AsyncConnection, caller: Principal, booking: Booking, asked: CreateBooking
    ) -> Hold:
        holds = _holds(connection, self._clock)
        # Placing needs neither of the two that are missing.
        ports = InventoryPorts(
            self._clock, self._catalog, holds, cast("Grants", None), directory=cast("Directory", None)
        )
        order = PlaceBookingHold(
            booking_id=booking.booking_id,
            step=BOOK_STEP,
            user_id=booking.user_id,
            ttl=PAYMENT_WINDOW + HOLD_MARGIN,
            items=(asked.item(),),
        )
        return await place_booking_hold(ports, caller, order)

    async def _charge(self, booking: Booking, payment: Payment, token: str) -> Booked:
        try:
            intent = await self._provider.create(payment, token)
        except (OutcomeUnknown, DependencyUnavailable):
            return Booked(booking)  # the workers go on
        except PaymentTokenInvalid as error:
            await self._give_up(booking, payment, error)
            raise
        for _ in range(MAX_RACES):
            try:
                settled = await self._settle(booking, payment, intent)
            except store.StaleError:
                # The webhook or the worker was first: theirs is the state to go on from.
                payment, booking = await self._reload(payment, booking)
            else:
                return Booked(settled, intent.client_secret if intent.status in PAYABLE else "")
        raise DependencyUnavailable("The booking changes too fast.")

    async def _settle(self, booking: Booking, payment: Payment, intent: ProviderIntent) -> Booking:
        """Stores what the provider said, and what follows of it for the booking, in one transaction."""
        if booking.step is not Step.PAY:
            return booking
        now = self._clock.now()
        change = follow(payment, intent, now)
        payment = change.payment if change is not None else payment
        heard = booking.heard(
            Charge(payment.payment_id, PaymentStatus(payment.status), payment.version, payment.last_error), now
        )
        async with self._database.transaction(booking.tenant_id) as connection:
            if change is not None:
                await store.save_payment(connection, change)
            if heard.payment_status is PaymentStatus.SUCCEEDED:
                after = await self._sell(connection, heard, now)
            else:
                after = heard.after_payment(now, now + LEASE)
            saved = replace(after, version=booking.version + 1)
            await store.save_booking(connection, booking, after, saved)
        return saved

    async def _sell(self, connection: AsyncConnection, paid: Booking, now: datetime) -> Booking:
        try:
            await _holds(connection, self._clock).post(paid.tenant_id, paid.booking_id, paid.hold_step)
        except HoldEnded:
            return paid.hold_lost(now, now + LEASE)
        return paid.confirmed(now)

    async def _give_up(self, booking: Booking, payment: Payment, error: PaymentTokenInvalid) -> None:
        now = self._clock.now()
        failed = booking.undoing(Failure(error.reason), now, now, step=Step.RELEASE)
        async with self._database.transaction(booking.tenant_id) as connection:
            await store.save_payment(connection, give_up_start(payment, "payment_token_invalid", now))
            await store.save_booking(connection, booking, failed, replace(failed, version=booking.version + 1))

    async def _reload(self, payment: Payment, booking: Booking) -> tuple[Payment, Booking]:
        stored = await StoredPayments(self._database.as_database()).get(payment.tenant_id, payment.payment_id)
        if stored is None:
            raise NotFound(resource="payment")
        async with self._database.transaction(booking.tenant_id) as connection:
            return stored, await _found(connection, booking.booking_id)


def _holds(connection: AsyncConnection, clock: Clock) -> SqlHolds:
    database = store.OneTransaction(connection).as_database()
    return SqlHolds(database, database, clock)


async def _found(connection: AsyncConnection, booking_id: str) -> Booking:
    booking = await store.read_booking(connection, booking_id)
    if booking is None:
        raise NotFound(resource="booking")
    return booking


def _sold(booking: Booking, hold: Hold) -> tuple[PricedItem, ...]:
    """Inventory's priced items in booking's words; between services the wire does this."""
    return tuple(
        PricedItem(
            item=item,
            vendor_id=priced.vendor_id,
            resource_name=priced.resource_name,
            time_zone=priced.time_zone,
            begin_time=priced.begin_time,
            finish_time=priced.finish_time,
            lines=tuple(
                PriceLine(PriceKind(line.kind), line.quantity, line.unit_price, line.amount) for line in priced.lines
            ),
            total=priced.total,
            policy=Policy(priced.cancellation_policy),
        )
        for item, priced in zip(booking.order.items, hold.items, strict=True)
    )


def _payment(booking: Booking, now: datetime) -> Payment:
    total = booking.total
    if total is None:
        raise AssertionError("What is paid has a price: the hold told it.")
    return Payment(
        payment_id=new_id("pay", at=now, shard=shard_of(booking.booking_id)),
        tenant_id=booking.tenant_id,
        booking_id=booking.booking_id,
        step=BOOK_STEP,
        user_id=booking.user_id,
        vendor_id=booking.vendor_id,
        amount=total,
        manual_capture=False,
        status=Status.PROCESSING,
        captured=Money.zero(total.currency),
        create_time=now,
        update_time=now,
        attempt_time=now,
    )
