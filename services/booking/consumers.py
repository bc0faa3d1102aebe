"""What booking hears by Kafka: how its payments stand."""

from __future__ import annotations

from collections.abc import Mapping

from berth.payment.events.v1 import events_pb2 as events
from google.protobuf.message import Message

from services.booking import wire
from services.booking.ports import News, Ports, Repeated
from services.booking.usecases import hear_payment
from services.chassis.inbox import AlreadyApplied
from services.chassis.inbox.consumer import Consumer
from services.chassis.inbox.event import Handler, Received

NAME = "booking"
TOPICS = ("berth.payment.v1",)
HEARD: tuple[type[Message], ...] = (
    events.PaymentSucceeded,
    events.PaymentAttemptFailed,
    events.PaymentCancelled,
    events.RefundUpdated,
)


def handlers(ports: Ports) -> Mapping[str, Handler]:
    """What is done for each event: all carry the payment as it then was, and that is what counts."""

    async def hear(event: Received) -> None:
        payment = event.message.payment  # type: ignore[attr-defined]  # each of HEARD has it
        news = News(event.event_id, event.type)
        try:
            await hear_payment(ports, event.tenant_id, payment.booking_id, wire.charge(payment), news)
        except Repeated:
            raise AlreadyApplied(event.event_id) from None

    return {kind.DESCRIPTOR.full_name: hear for kind in HEARD}


def payment_consumer(ports: Ports, bootstrap: str) -> Consumer:
    """Hears payment's events."""
    return Consumer(NAME, TOPICS, handlers(ports), bootstrap=bootstrap)
