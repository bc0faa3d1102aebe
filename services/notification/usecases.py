"""What notification does: queue messages, deliver them, and let people and administrators read."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from services.chassis.crash import crash_point
from services.chassis.errors import NotFound, Refusal
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.ids import new_id, shard_of
from services.chassis.principal import Principal
from services.notification.domain import (
    LEASE,
    Contact,
    Delivery,
    Gone,
    Intake,
    Kind,
    Mail,
    MailRefused,
    Notification,
    Occasion,
    Status,
    message_id,
    words,
)
from services.notification.ports import Ports

_log = logging.getLogger(__name__)


async def queue_message(ports: Ports, occasion: Occasion) -> Intake:
    """Have a person told: once for each event and person, however often the event arrives."""
    now = ports.clock.now()
    delivery = Delivery(
        delivery_id=new_id("dlv", at=now, shard=shard_of(occasion.user_id)),
        tenant_id=occasion.tenant_id,
        event_id=occasion.source.event_id,
        user_id=occasion.user_id,
        subject=occasion.subject,
        status=Status.QUEUED,
        attempts=0,
        create_time=now,
    )
    return await ports.deliveries.queue(delivery, occasion.source, now)


async def take_due(ports: Ports, limit: int) -> Sequence[Delivery]:
    """Take messages whose time has come. If we die with them in hand, their lease ends and others take them."""
    now = ports.clock.now()
    return await ports.deliveries.take(now, now + LEASE, limit)


async def deliver(ports: Ports, delivery: Delivery) -> Status:
    """Try one message that was taken; returns where it stands then."""
    try:
        if delivery.is_late(ports.clock.now()):
            return await _end(ports, delivery, Status.DROPPED, "expired")
        await ports.mailer.send(await _compose(ports, delivery))
    except Gone as gone:
        return await _end(ports, delivery, Status.DROPPED, str(gone))
    except MailRefused as refused:
        return await _end(ports, delivery, Status.FAILED, str(refused))
    except Refusal as refusal:
        return await _try_later(ports, delivery, refusal.reason)
    except Exception as error:  # noqa: BLE001 - one message that we cannot handle must not hold up the others
        _log.exception("a message cannot be delivered", extra={"delivery_id": delivery.delivery_id})
        return await _try_later(ports, delivery, type(error).__name__)
    crash_point("notification.after_accept")
    return await _end(ports, delivery, Status.SENT, "")


async def list_notifications(
    ports: Ports, caller: Principal, after: str, size: int, *, unread: bool
) -> tuple[Sequence[Notification], bool]:
    """A page of the caller's messages, and whether there are more."""
    found = await ports.inbox.page(caller.tenant_id, caller.subject, after, size + 1, unread=unread)
    return found[:size], len(found) > size


async def read_notification(
    ports: Ports, caller: Principal, notification_id: str, key: IdempotencyKey | None
) -> Notification:
    """Mark one of the caller's messages as read; it stays read since the first time."""
    found = await ports.inbox.read(caller.tenant_id, caller.subject, notification_id, ports.clock.now(), key)
    if found is None:
        raise NotFound(resource="notification")
    return found


async def list_deliveries(
    ports: Ports, caller: Principal, after: str, size: int, status: Status | None
) -> tuple[Sequence[Delivery], bool]:
    """A page of what became of the tenant's messages, and whether there are more."""
    found = await ports.deliveries.page(caller.tenant_id, after, size + 1, status)
    return found[:size], len(found) > size


async def _compose(ports: Ports, delivery: Delivery) -> Mail:
    """Fetch what the message needs, put it into the inbox where it belongs there, and write the mail."""
    subject = delivery.subject
    contact = await ports.people.contact(delivery.user_id)
    code = await ports.people.code(subject.challenge_id) if subject.kind is Kind.VERIFY_EMAIL else None
    booking = await ports.bookings.describe(subject.booking_id) if subject.booking_id else None
    now = ports.clock.now()
    if code is not None and code.expire_time <= now:
        raise Gone("expired")
    values = words(delivery, contact, booking, code, now)
    text = ports.templates.fill(subject.kind, contact.locale, values)
    if subject.kind.in_app:
        await ports.inbox.add(
            Notification(
                notification_id=new_id("ntf", at=now, shard=shard_of(delivery.user_id)),
                tenant_id=delivery.tenant_id,
                user_id=delivery.user_id,
                event_id=delivery.event_id,
                kind=subject.kind,
                title=text.title,
                body=text.body,
                booking_id=subject.booking_id,
                create_time=now,
            )
        )
    plain, html = ports.templates.letter(text, contact.locale, values)
    return _mail(ports, delivery, contact, text.title, plain, html)


def _mail(ports: Ports, delivery: Delivery, contact: Contact, title: str, plain: str, html: str) -> Mail:
    return Mail(
        message_id=message_id(delivery, ports.mail_domain),
        to=contact.email,
        subject=title,
        text=plain,
        html=html,
        language="en",
        date=delivery.create_time,
    )


async def _end(ports: Ports, delivery: Delivery, status: Status, error: str) -> Status:
    await ports.deliveries.settle(delivery, status, ports.clock.now(), error)
    return status


async def _try_later(ports: Ports, delivery: Delivery, error: str) -> Status:
    again = delivery.next_try(ports.clock.now())
    if again is None:
        return await _end(ports, delivery, Status.FAILED, error)
    await ports.deliveries.postpone(delivery, again, error)
    return Status.QUEUED
