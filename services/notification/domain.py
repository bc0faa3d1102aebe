"""What is told to people, when, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from services.chassis.money import Money

FIRST_RETRY: Final = timedelta(seconds=1)
LONGEST_RETRY: Final = timedelta(seconds=60)
# How long a message in hand stays with whoever took it: longer than all that one try may take.
LEASE: Final = timedelta(seconds=45)
GIVE_UP_AFTER: Final = timedelta(hours=24)
MAX_VALUE_LENGTH: Final = 200  # characters of one value in a text

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Kind(StrEnum):
    """What a message is about; its template has this name."""

    VERIFY_EMAIL = "verify_email"
    ALREADY_REGISTERED = "already_registered"
    BOOKING_CONFIRMED = "booking_confirmed"
    BOOKING_CANCELLED = "booking_cancelled"
    BOOKING_EXPIRED = "booking_expired"
    PAYMENT_FAILED = "payment_failed"

    @property
    def urgent(self) -> bool:
        """Whether somebody waits in front of a screen for it."""
        return self in {Kind.VERIFY_EMAIL, Kind.ALREADY_REGISTERED}

    @property
    def in_app(self) -> bool:
        """Whether the person's inbox keeps it; codes are kept nowhere."""
        return self not in {Kind.VERIFY_EMAIL, Kind.ALREADY_REGISTERED}


class Status(StrEnum):
    """Where a delivery stands. QUEUED → SENT, FAILED or DROPPED, which end it."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    FAILED = "FAILED"
    DROPPED = "DROPPED"


class Intake(StrEnum):
    """What became of an event."""

    QUEUED = "QUEUED"
    REPEATED = "REPEATED"  # it was applied before
    STALE = "STALE"  # something newer about the same thing was told before


class Gone(Exception):
    """What the message needs does not exist any more: the person, the code or the booking."""


class MailRefused(Exception):
    """The mail server will never take this message."""


@dataclass(frozen=True, slots=True)
class Source:
    """The event that a message stems from."""

    event_id: str
    type: str
    topic: str
    key: str
    version: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a message is about, in ids and amounts; no personal data."""

    kind: Kind
    booking_id: str = ""
    challenge_id: str = ""
    refund: Money | None = None
    expire_time: datetime | None = None  # sent after this, it would be useless


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something happened that a person is to be told."""

    tenant_id: str
    user_id: str
    source: Source
    subject: Subject


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message on its way to one person."""

    delivery_id: str
    tenant_id: str
    event_id: str
    user_id: str
    subject: Subject
    status: Status
    attempts: int
    create_time: datetime
    last_error: str = ""
    sent_time: datetime | None = None

    def next_try(self, now: datetime) -> datetime | None:
        """When to try again after the attempt that just failed; None when it is time to give up."""
        if now - self.create_time >= GIVE_UP_AFTER:
            return None
        doublings = min(max(self.attempts - 1, 0), 10)
        pause = min(FIRST_RETRY * (1 << doublings), LONGEST_RETRY)
        return now + pause

    def is_late(self, now: datetime) -> bool:
        """Whether it is of no use any more."""
        return self.subject.expire_time is not None and self.subject.expire_time <= now


@dataclass(frozen=True, slots=True)
class Contact:
    """How to write to a person; fetched for each message, never stored."""

    email: str
    first_name: str
    locale: str
    tenant_name: str


@dataclass(frozen=True, slots=True)
class Code:
    """A code to be mailed."""

    text: str
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class BookingDetails:
    """What a message says of a booking."""

    resource_name: str
    confirmation_code: str
    total: Money | None
    time_zone: str
    start_time: datetime | None = None
    end_time: datetime | None = None
    start_date: date | None = None  # of a stay
    end_date: date | None = None

    @property
    def when(self) -> str:
        """When it is, as people of that place write it."""
        if self.start_date is not None and self.end_date is not None:
            nights = (self.end_date - self.start_date).days
            counted = "1 night" if nights == 1 else f"{nights} nights"
            return f"{_day(self.start_date)} to {_day(self.end_date)} ({counted})"
        if self.start_time is None or self.end_time is None:
            return "to be agreed"
        zone = ZoneInfo(self.time_zone or "UTC")
        start, end = self.start_time.astimezone(zone), self.end_time.astimezone(zone)
        until = f"{end:%H:%M}" if end.date() == start.date() else f"{_day(end.date())}, {end:%H:%M}"
        return f"{_day(start.date())}, {start:%H:%M} to {until} ({zone.key})"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message in a person's inbox."""

    notification_id: str
    tenant_id: str
    user_id: str
    event_id: str
    kind: Kind
    title: str
    body: str
    booking_id: str
    create_time: datetime
    read_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A message's words."""

    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail; sent again it has the same id, and is the same to the byte where its words are."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str
    language: str
    date: datetime


def clean(value: str) -> str:
    """A value as it may stand in a text or header: one line, nothing that turns or hides what follows."""
    return _CONTROL.sub(" ", value).strip()[:MAX_VALUE_LENGTH]


def message_id(delivery: Delivery, domain: str) -> str:
    """Fixed for event and person, so that mail programs show a message once that had to be sent twice."""
    return f"<{delivery.event_id}.{delivery.user_id}@{domain}>"


def words(
    delivery: Delivery, contact: Contact, booking: BookingDetails | None, code: Code | None, now: datetime
) -> Mapping[str, str]:
    """The values that a template may use."""
    values = {"first_name": contact.first_name, "tenant": contact.tenant_name}
    if code is not None:
        minutes = max(1, int((code.expire_time - now).total_seconds() // 60))
        values |= {"code": code.text, "minutes": "1 minute" if minutes == 1 else f"{minutes} minutes"}
    if booking is not None:
        values |= {
            "resource": booking.resource_name,
            "when": booking.when,
            "total": str(booking.total) if booking.total is not None else "nothing",
            "confirmation_code": booking.confirmation_code,
            "refund": _refund(delivery.subject),
        }
    return {name: clean(value) for name, value in values.items()}


def _refund(subject: Subject) -> str:
    refund = subject.refund
    if refund is not None and refund.minor > 0:
        return f"You get {refund} back; it takes your bank a few days to show it."
    if subject.kind is Kind.BOOKING_EXPIRED:
        return "You were not charged."
    return "Under the terms of this booking nothing is given back."


def _day(day: date) -> str:
    return f"{day:%a} {day.day} {day:%B %Y}"
