"""What payment tells by its events: taken once, and never backwards."""

from __future__ import annotations

from services.booking.domain import Booking, Charge
from services.booking.ports import News, Ports, Stale
from services.booking.usecases.saga import lease_from
from services.chassis.errors import DependencyUnavailable

MAX_TRIES = 8  # against changes by others


async def hear_payment(ports: Ports, tenant_id: str, booking_id: str, charge: Charge, news: News) -> None:
    """Note how a booking's payment stands, and have the saga act on it; raises Repeated for news taken before.

    What changes nothing is not even written down as taken: it would change nothing a second time either, and it is by
    far the most, because a booking mostly learns by payment's own answer. What this process has stored itself is not
    even looked up.
    """
    if not charge.refunds and ports.bookings.needs_no_news(booking_id, charge.version, ports.clock.now()):
        return
    for _ in range(MAX_TRIES):
        booking = await ports.bookings.get(tenant_id, booking_id)
        after = booking and _after(ports, booking, charge)
        if booking is None or after is None:
            # Not ours, no news, or soon to be answered by payment itself.
            return
        try:
            saved = await ports.bookings.save(booking, after, news=news)
        except Stale:
            continue
        if saved.moving:
            ports.wake()
        return
    raise DependencyUnavailable("The booking changes too fast.")


def _after(ports: Ports, booking: Booking, charge: Charge) -> Booking | None:
    now = ports.clock.now()
    heard = booking.heard(charge, now)
    if booking.asking or heard is booking:
        return None
    # A step that somebody is taking stays theirs until its lease ends; otherwise the worker begins at once.
    return heard.after_payment(now, lease_from(ports, now) if booking.moving else now)
