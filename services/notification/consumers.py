"""What notification hears from the others, and makes messages of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from services.chassis.inbox import AlreadyApplied, Handler, Received
from services.notification import wire
from services.notification.domain import Intake, Occasion, Source
from services.notification.ports import Ports
from services.notification.usecases import queue_message

NAME: Final = "notification"
TOPICS: Final = ("berth.auth.v1", "berth.booking.v1", "berth.payment.v1")


def handlers(ports: Ports, queued: Callable[[], None]) -> Mapping[str, Handler]:
    """Handlers by event type; `queued` is called when a message waits to be delivered."""

    async def tell(event: Received) -> None:
        found = wire.told(event.message)
        if found is None:
            return
        user_id, subject = found
        source = Source(event.event_id, event.type, event.topic, event.key, event.version)
        intake = await queue_message(ports, Occasion(event.tenant_id, user_id, source, subject))
        if intake is Intake.REPEATED:
            raise AlreadyApplied(event.event_id)
        if intake is Intake.QUEUED:
            queued()

    return dict.fromkeys(wire.event_types(), tell)
