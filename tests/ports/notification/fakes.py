"""Notification's ports in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.chassis.clock import FixedClock
from services.chassis.errors import DependencyUnavailable, IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money
from services.notification.clients.templates import FileTemplates
from services.notification.domain import (
    BookingDetails,
    Code,
    Contact,
    Delivery,
    Gone,
    Intake,
    Kind,
    Mail,
    MailRefused,
    Notification,
    Occasion,
    Source,
    Status,
    Subject,
)
from services.notification.ports import Ports

AT = datetime(2030, 5, 17, 9, 30, tzinfo=UTC)
TENANT = "ten_01jvc0000000000000000000ta"
USER = "usr_01jvc0000000000000000000va"
BOOKING = "bkg_01jvc0000000000000000000va"
CHALLENGE = "otp_01jvc0000000000000000000va"


class FakeDeliveries:
    """The delivery log in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Delivery] = {}
        self._due: dict[str, datetime] = {}
        self._applied: set[str] = set()
        self._versions: dict[tuple[str, str], int] = {}

    async def queue(self, delivery: Delivery, source: Source, at: datetime) -> Intake:
        if source.event_id in self._applied:
            return Intake.REPEATED
        self._applied.add(source.event_id)
        key = (source.topic, source.key)
        if source.version <= self._versions.get(key, source.version - 1):
            return Intake.STALE
        self._versions[key] = source.version
        if not any((row.event_id, row.user_id) == (delivery.event_id, delivery.user_id) for row in self.rows.values()):
            self.rows[delivery.delivery_id] = delivery
            self._due[delivery.delivery_id] = at
        return Intake.QUEUED

    async def take(self, now: datetime, again: datetime, limit: int) -> Sequence[Delivery]:
        due = [row for row in self.rows.values() if row.status is Status.QUEUED and self._due[row.delivery_id] <= now]
        due.sort(key=lambda row: (not row.subject.kind.urgent, self._due[row.delivery_id]))
        taken = [replace(row, attempts=row.attempts + 1) for row in due[:limit]]
        for row in taken:
            self.rows[row.delivery_id] = row
            self._due[row.delivery_id] = again
        return taken

    async def settle(self, delivery: Delivery, status: Status, at: datetime, error: str = "") -> None:
        row = self.rows[delivery.delivery_id]
        if row.status is Status.QUEUED:
            sent_time = at if status is Status.SENT else None
            self.rows[row.delivery_id] = replace(row, status=status, last_error=error, sent_time=sent_time)

    async def postpone(self, delivery: Delivery, until: datetime, error: str) -> None:
        row = self.rows[delivery.delivery_id]
        if row.status is Status.QUEUED:
            self.rows[row.delivery_id] = replace(row, last_error=error)
            self._due[row.delivery_id] = until

    async def page(self, tenant_id: str, after: str, size: int, status: Status | None) -> Sequence[Delivery]:
        found = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.delivery_id, reverse=True)
            if row.tenant_id == tenant_id and (not after or row.delivery_id < after) and status in {None, row.status}
        ]
        return found[:size]


class FakeInbox:
    """In-app messages in a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Notification] = {}
        self._keys: dict[str, bytes] = {}

    async def add(self, notification: Notification) -> None:
        told = {(row.event_id, row.user_id) for row in self.rows.values()}
        if (notification.event_id, notification.user_id) not in told:
            self.rows[notification.notification_id] = notification

    async def page(
        self, tenant_id: str, user_id: str, after: str, size: int, *, unread: bool
    ) -> Sequence[Notification]:
        found = [
            row
            for row in sorted(self.rows.values(), key=lambda row: row.notification_id, reverse=True)
            if (row.tenant_id, row.user_id) == (tenant_id, user_id)
            and (not after or row.notification_id < after)
            and not (unread and row.read_time)
        ]
        return found[:size]

    async def read(
        self, tenant_id: str, user_id: str, notification_id: str, at: datetime, key: IdempotencyKey | None
    ) -> Notification | None:
        row = self.rows.get(notification_id)
        if row is None or (row.tenant_id, row.user_id) != (tenant_id, user_id):
            return None
        if key is not None and self._keys.setdefault(key.key, key.request_hash) != key.request_hash:
            raise IdempotencyKeyReused
        self.rows[notification_id] = replace(row, read_time=row.read_time or at)
        return self.rows[notification_id]


@dataclass
class FakePeople:
    """What auth knows."""

    contacts: dict[str, Contact] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    out: bool = False

    async def contact(self, user_id: str) -> Contact:
        self._refuse()
        if user_id not in self.contacts:
            raise Gone("the person is gone")
        return self.contacts[user_id]

    async def code(self, challenge_id: str) -> Code:
        self._refuse()
        if challenge_id not in self.codes:
            raise Gone("the code is gone")
        return self.codes[challenge_id]

    def _refuse(self) -> None:
        if self.out:
            raise DependencyUnavailable


@dataclass
class FakeBookings:
    """What booking knows."""

    bookings: dict[str, BookingDetails] = field(default_factory=dict)

    async def describe(self, booking_id: str) -> BookingDetails:
        if booking_id not in self.bookings:
            raise Gone("the booking is gone")
        return self.bookings[booking_id]


class FakeMailer:
    """A mail server that keeps what it takes."""

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.out = False
        self.refuses: set[str] = set()

    async def send(self, mail: Mail) -> None:
        if self.out:
            raise DependencyUnavailable
        if mail.to in self.refuses or "\n" in mail.to or "@" not in mail.to:
            raise MailRefused("the mail server answered 550")
        self.sent.append(mail)


@dataclass
class World:
    """All fakes, with one person, one code and one booking in them."""

    clock: FixedClock
    deliveries: FakeDeliveries
    inbox: FakeInbox
    people: FakePeople
    bookings: FakeBookings
    mailer: FakeMailer
    ports: Ports


def world() -> World:
    """A fresh one."""
    clock = FixedClock(AT)
    deliveries, inbox, mailer = FakeDeliveries(), FakeInbox(), FakeMailer()
    people = FakePeople(
        contacts={USER: Contact("ada@example.org", "Ada", "en-GB", "Demo Stays")},
        codes={CHALLENGE: Code("123456", AT + timedelta(minutes=10))},
    )
    bookings = FakeBookings(
        {
            BOOKING: BookingDetails(
                resource_name="Room with a view",
                confirmation_code="K7QX2M",
                total=Money("EUR", 15000),
                time_zone="Europe/Berlin",
                start_time=datetime(2030, 6, 14, 13, tzinfo=UTC),
                end_time=datetime(2030, 6, 14, 14, 30, tzinfo=UTC),
            )
        }
    )
    ports = Ports(clock, deliveries, inbox, people, bookings, FileTemplates(), mailer, "berth.example")
    return World(clock, deliveries, inbox, people, bookings, mailer, ports)


def occasion(
    kind: Kind = Kind.BOOKING_CONFIRMED,
    *,
    event_id: str = "evt_1",
    version: int = 1,
    user_id: str = USER,
    tenant_id: str = TENANT,
    key: str = BOOKING,
    **subject: object,
) -> Occasion:
    """Something that happened."""
    about: Mapping[str, object] = {"booking_id": BOOKING} if kind.in_app else {"challenge_id": CHALLENGE}
    topic = "berth.booking.v1" if kind.in_app else "berth.auth.v1"
    source = Source(event_id, "berth.some.Event", topic, key, version)
    return Occasion(tenant_id, user_id, source, Subject(kind, **(dict(about) | subject)))  # type: ignore[arg-type]  # a test names its own fields
