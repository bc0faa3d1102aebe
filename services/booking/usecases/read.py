"""Reading bookings: who may see which, and how much of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from services.booking.domain import Booking, PaymentStatus, Status, Step, Transition
from services.booking.ports import Listed, Mandate, Ports, Window
from services.booking.usecases.saga import OUTAGES
from services.chassis.errors import NotFound
from services.chassis.principal import Principal

READ_ALL = "bookings.read_all"
MANAGE = "bookings.manage"
ME = "me"
_PAYABLE = frozenset({PaymentStatus.REQUIRES_PAYMENT_METHOD, PaymentStatus.REQUIRES_ACTION, PaymentStatus.PROCESSING})


@dataclass(frozen=True, slots=True)
class View:
    """A booking as one caller may see it."""

    booking: Booking
    shows_guest: bool
    client_secret: str = field(default="", repr=False)


async def get_booking(ports: Ports, caller: Principal, booking_id: str) -> View:
    """One booking, for its person, its vendor's staff, or an administrator."""
    return await view(ports, caller, await visible(ports, caller, booking_id))


async def describe_booking(ports: Ports, caller: Principal, booking_id: str) -> View:
    """One booking, for a service that writes about it: without its guest, whom auth knows."""
    return View(await _found(ports, caller, booking_id), shows_guest=False)


async def booking_history(ports: Ports, caller: Principal, booking_id: str) -> tuple[Transition, ...]:
    """Every transition of a booking."""
    await visible(ports, caller, booking_id)
    return await ports.bookings.history(caller.tenant_id, booking_id)


async def user_bookings(
    ports: Ports, caller: Principal, user_id: str, status: Status | None, window: Window
) -> tuple[list[View], Listed]:
    """A person's bookings; somebody else's only for an administrator."""
    user_id = caller.subject if user_id == ME else user_id
    if not caller.is_user(user_id) and not caller.may(READ_ALL):
        raise NotFound(resource="user")
    listed = await ports.bookings.of_user(caller.tenant_id, user_id, status, window)
    return _views(caller, listed), listed


async def vendor_bookings(
    ports: Ports, caller: Principal, vendor_id: str, status: Status | None, window: Window
) -> tuple[list[View], Listed]:
    """A vendor's bookings, for its staff or an administrator."""
    if not _serves(caller, vendor_id) and not caller.may(READ_ALL):
        raise NotFound(resource="vendor")
    listed = await ports.bookings.of_vendor(caller.tenant_id, vendor_id, status, window)
    return _views(caller, listed), listed


async def visible(ports: Ports, caller: Principal, booking_id: str) -> Booking:
    """The booking, if the caller may know of it: one that is not theirs answers as one that is not there."""
    booking = await _found(ports, caller, booking_id)
    if caller.is_user(booking.user_id) or _serves(caller, booking.vendor_id) or caller.may(READ_ALL):
        return booking
    raise NotFound(resource="booking")


async def view(ports: Ports, caller: Principal, booking: Booking) -> View:
    """The booking for this caller; its payer gets, while there is something to pay, the means to."""
    secret = ""
    if caller.is_user(booking.user_id) and booking.step is Step.AWAIT and booking.payment_status in _PAYABLE:
        mandate = Mandate(booking.tenant_id, booking.booking_id, booking.user_id)
        # The booking can be shown without: whoever wants to pay asks again.
        with suppress(*OUTAGES):
            secret = (await ports.payments.get(mandate, refresh=False)).client_secret
    return View(booking, shows_guest=_shows_guest(caller, booking), client_secret=secret)


async def _found(ports: Ports, caller: Principal, booking_id: str) -> Booking:
    booking = await ports.bookings.get(caller.tenant_id, booking_id)
    if booking is None:
        raise NotFound(resource="booking")
    return booking


def _views(caller: Principal, listed: Listed) -> list[View]:
    return [View(booking, shows_guest=_shows_guest(caller, booking)) for booking in listed.bookings]


def _shows_guest(caller: Principal, booking: Booking) -> bool:
    return caller.is_user(booking.user_id) or _serves(caller, booking.vendor_id)


def _serves(caller: Principal, vendor_id: str) -> bool:
    return bool(vendor_id) and caller.works_for(vendor_id) and caller.may(MANAGE)
