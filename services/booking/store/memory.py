"""What this process knows of bookings without looking: it has stored them itself, and not long ago."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime

from services.booking.domain import Booking

REMEMBERED = 10_000  # bookings: those of the last minutes
_NEVER = datetime.min.replace(tzinfo=UTC)


class Memory:
    """The payment's version of each booking, which only grows, and until when the saga asks payment by itself."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, datetime]] = OrderedDict()

    def stored(self, saved: Booking) -> None:
        """Remember a booking as it was stored."""
        # Its step is nobody else's until the lease ends; and who cancels it meanwhile has payment asked as well.
        asks_until = saved.run_time if saved.asking else None
        self._known[saved.booking_id] = (saved.payment_version, asks_until or _NEVER)
        self._known.move_to_end(saved.booking_id)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def left(self, booking_id: str) -> None:
        """Forget a booking whose next step may be anybody's."""
        self._known.pop(booking_id, None)

    def needs_no_news(self, booking_id: str, payment_version: int, now: datetime) -> bool:
        """Whether what payment tells cannot change the booking."""
        version, asks_until = self._known.get(booking_id, (0, _NEVER))
        return payment_version <= version or now < asks_until
