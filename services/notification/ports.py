"""What notification's use cases need of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.chassis.clock import Clock
from services.chassis.idempotency.key import IdempotencyKey
from services.notification.domain import (
    BookingDetails,
    Code,
    Contact,
    Delivery,
    Intake,
    Mail,
    Notification,
    Source,
    Status,
    Text,
)


class Deliveries(Protocol):
    """The delivery log, which is also the queue."""

    async def queue(self, delivery: Delivery, source: Source, at: datetime) -> Intake:
        """Note the event as applied and queue its message, in one step; an event or person is never queued twice."""
        ...

    async def take(self, now: datetime, again: datetime, limit: int) -> Sequence[Delivery]:
        """Take what is due, urgent first, and count the attempt; nobody else is given it before `again`."""
        ...

    async def settle(self, delivery: Delivery, status: Status, at: datetime, error: str = "") -> None:
        """End a queued delivery; one that has ended stays as it is."""
        ...

    async def postpone(self, delivery: Delivery, until: datetime, error: str) -> None:
        """Try a queued delivery again at `until`."""
        ...

    async def page(self, tenant_id: str, after: str, size: int, status: Status | None) -> Sequence[Delivery]:
        """The tenant's deliveries, newest first, from the first one older than `after`."""
        ...


class Inbox(Protocol):
    """People's in-app messages."""

    async def add(self, notification: Notification) -> None:
        """Add a message; the same event's message to the same person is added once."""
        ...

    async def page(
        self, tenant_id: str, user_id: str, after: str, size: int, *, unread: bool
    ) -> Sequence[Notification]:
        """A person's messages, newest first, from the first one older than `after`."""
        ...

    async def read(
        self, tenant_id: str, user_id: str, notification_id: str, at: datetime, key: IdempotencyKey | None
    ) -> Notification | None:
        """Mark as read, unless it was already; None where the person has no such message."""
        ...


class People(Protocol):
    """Who people are and the codes they wait for; auth knows. Raises Gone, or a Refusal while auth is out."""

    async def contact(self, user_id: str) -> Contact:
        """How to write to a person."""
        ...

    async def code(self, challenge_id: str) -> Code:
        """A code that is to be mailed."""
        ...


class Bookings(Protocol):
    """What bookings are about; booking knows. Raises Gone, or a Refusal while booking is out."""

    async def describe(self, booking_id: str) -> BookingDetails:
        """What a message says of a booking."""
        ...


class Templates(Protocol):
    """The words, by kind and language."""

    def fill(self, name: str, locale: str, values: Mapping[str, str]) -> Text:
        """A message's title and body."""
        ...

    def letter(self, text: Text, locale: str, values: Mapping[str, str]) -> tuple[str, str]:
        """The body inside a letter, as plain text and as HTML in which every word is only a word."""
        ...


class Mailer(Protocol):
    """The way to mailboxes."""

    async def send(self, mail: Mail) -> None:
        """Return once the server has taken it; raises MailRefused, or a Refusal while the server is out."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All of them."""

    clock: Clock
    deliveries: Deliveries
    inbox: Inbox
    people: People
    bookings: Bookings
    templates: Templates
    mailer: Mailer
    mail_domain: str
