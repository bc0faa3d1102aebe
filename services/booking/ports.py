"""What booking's use cases need from outside: its own store, inventory, payment, the time, and patience."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from services.booking.domain import Booking, Charge, Order, PricedItem, Status, Transition
from services.chassis.clock import Clock
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money


class Stale(Exception):
    """Somebody else has changed the booking first: read it again, and decide again."""


class Repeated(Exception):
    """The idempotency key, or the event, was taken before: nothing was changed."""


class AmountRefused(Exception):
    """The provider does not move such an amount, e.g. one that is too small."""


@dataclass(frozen=True, slots=True)
class News:
    """An event heard from another service: taken once."""

    event_id: str
    type: str


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list to read: after an id, or past a number of bookings."""

    limit: int
    after: str = ""
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Listed:
    """A part of a list, and how many there are in all."""

    bookings: tuple[Booking, ...]
    total: int
    more: bool


@dataclass(frozen=True, slots=True)
class Held:
    """Units kept for a booking, at the prices that they are kept for."""

    items: tuple[PricedItem, ...]
    total: Money


@dataclass(frozen=True, slots=True)
class Mandate:
    """The booking that another service is asked about, and the person it is asked for."""

    tenant_id: str
    booking_id: str
    user_id: str


class Bookings(Protocol):
    """The bookings. Each change is one transaction, with its history and its event."""

    async def add(self, booking: Booking, key: IdempotencyKey | None) -> str:
        """Claim the key and store the booking; answers the id of the booking that the key was first used for."""
        ...

    async def get(self, tenant_id: str, booking_id: str) -> Booking | None:
        """Read one booking."""
        ...

    async def save(
        self, before: Booking, after: Booking, *, key: IdempotencyKey | None = None, news: News | None = None
    ) -> Booking:
        """Store a change of `before`, together with taking a key or an event; raises Stale or Repeated.

        A booking that fails gives back the key that it was asked for with.
        """
        ...

    def needs_no_news(self, booking_id: str, payment_version: int, now: datetime) -> bool:
        """Whether the booking is known to be stored with its payment in this version, in a newer one, or at a step of
        somebody's who asks payment."""
        ...

    async def first_use(self, key: IdempotencyKey) -> str | None:
        """The id that the key was first used for, if it was."""
        ...

    async def take_over(self, booking: Booking, now: datetime, lease: datetime) -> Booking | None:
        """Take a booking that stands still until `lease`; None where somebody else does."""
        ...

    async def postpone(self, booking: Booking, run_time: datetime) -> None:
        """Have the worker look at the booking then, unless it has changed."""
        ...

    async def take_due(self, now: datetime, lease: datetime, limit: int) -> list[Booking]:
        """Take, until `lease`, bookings of all tenants that are due."""
        ...

    async def of_user(self, tenant_id: str, user_id: str, status: Status | None, window: Window) -> Listed:
        """A person's bookings, newest first."""
        ...

    async def of_vendor(self, tenant_id: str, vendor_id: str, status: Status | None, window: Window) -> Listed:
        """A vendor's bookings, newest first."""
        ...

    async def history(self, tenant_id: str, booking_id: str) -> tuple[Transition, ...]:
        """A booking's transitions, oldest first."""
        ...


class Inventory(Protocol):
    """Inventory's holds, each named by booking and step. Every method can be called twice with one effect."""

    async def place(self, mandate: Mandate, step: str, order: Order, ttl: timedelta) -> Held:
        """Price and keep; raises SlotTaken, NotBookable, QuoteInvalid or HoldEnded, and then keeps nothing."""
        ...

    async def post(self, mandate: Mandate, step: str) -> None:
        """Sell what is kept; raises HoldEnded when time or a void was first."""
        ...

    async def post_unseen(self, mandate: Mandate, step: str) -> Held:
        """The same, and tell what it is."""
        ...

    async def void(self, mandate: Mandate, step: str) -> None:
        """Give up what is kept, or will be by a call that comes late; raises HoldEnded when it is sold."""
        ...

    async def cancel_posted(self, mandate: Mandate, step: str) -> None:
        """Free what is sold; raises HoldEnded when it never was."""
        ...


class Payments(Protocol):
    """A booking's payment. Every method can be called twice with one effect."""

    async def start(self, mandate: Mandate, vendor_id: str, amount: Money, token: str) -> Charge:
        """Begin it, and confirm it where there is a token; raises PaymentTokenInvalid or AmountRefused."""
        ...

    async def attempt(self, mandate: Mandate, attempt: str, token: str) -> Charge:
        """Try another payment method; raises PaymentTokenInvalid, or BookingStateInvalid where it is too late."""
        ...

    async def get(self, mandate: Mandate, *, refresh: bool) -> Charge:
        """Read it with its client secret; `refresh` asks the provider."""
        ...

    async def cancel(self, mandate: Mandate, reason: str) -> Charge:
        """Cancel it unless it succeeded, also before it was begun."""
        ...

    async def refund(self, mandate: Mandate, step: str, amount: Money, reason: str) -> Charge | None:
        """Give money back; None when payment will not."""
        ...


class Patience(Protocol):
    """How a call waits for another one."""

    def remaining(self) -> float | None:
        """The seconds that this call has left, if anything limits it."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait."""
        ...


class Door(Protocol):
    """Where new bookings wait for each other when there are many."""

    def passage(self) -> AbstractAsyncContextManager[None]:
        """A booking's first run; the block begins when it may."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take and last."""

    payment_window: timedelta
    hold_margin: timedelta = timedelta(minutes=2)  # how much longer than the payment window the units are kept
    late_hold: timedelta = timedelta(minutes=2)  # what is paid needs its units only until they are sold
    lease: timedelta = timedelta(seconds=15)  # as long as the longest call


def _nobody() -> None:
    """Nobody to wake."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that the use cases need."""

    clock: Clock
    bookings: Bookings
    inventory: Inventory
    payments: Payments
    patience: Patience
    door: Door
    times: Times
    wake: Callable[[], None] = _nobody  # tells the worker that there is something to do
