"""What the contracts' policies leave to the services: for each method, who may reach which object, and what shows it.

A method that is missing here fails the suite by name. `Row.passes` is how a call ends that was let through; calls that
would change something are made so that they end in a harmless refusal which only comes after the decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tests.journey.world.things import Thing

ID = "{id}"  # stands for the object's id in a body


class May(Enum):
    """How somebody comes to reach an object."""

    PERSON = auto()  # it is theirs
    STAFF = auto()  # their vendor serves it
    OPEN = auto()  # everybody of its tenant, for those that are open
    TENANT = auto()  # everybody of its tenant
    SEES_ALL = auto()  # who has `bookings.read_all` in its tenant
    REVIEWER = auto()  # who has `vendors.review` in its tenant
    PLATFORM = auto()  # who may call the method at all, whichever the tenant


@dataclass(frozen=True, slots=True)
class Row:
    """One method's line of the table."""

    kind: str = ""  # of the object; none for methods that have none
    body: Mapping[str, Any] | None = None
    may: frozenset[May] = frozenset()  # nobody: done to what is theirs it would take effect, so it is not
    passes: frozenset[str] = frozenset({"OK"})
    hidden: str = "NOT_FOUND"  # what those hear who may not know of the object
    blind: frozenset[May] = frozenset()  # who is let through by the tenant alone: lists of nothing are empty

    def fields(self, thing: Thing | None) -> dict[str, Any]:
        """The body about that object."""
        filled = _filled(self.body or {}, thing.id if thing else "")
        assert isinstance(filled, dict)
        return filled


def _filled(value: Any, identifier: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(inner, identifier) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, identifier) for inner in value]
    return identifier if value == ID else value


def _row(
    kind: str = "",
    body: Mapping[str, Any] | None = None,
    *,
    may: Iterable[May] = (),
    passes: Iterable[str] = ("OK",),
    hidden: str = "NOT_FOUND",
    blind: Iterable[May] = (),
) -> Row:
    return Row(kind, body, frozenset(may), frozenset(passes), hidden, frozenset(blind))


THEIRS = (May.PERSON, May.STAFF)
VISIBLE = (May.PERSON, May.STAFF, May.SEES_ALL)
GUEST = {"firstName": "Bartholomea", "lastName": "Quillfeather", "email": "bartholomea.quillfeather@guests.example"}
NIGHT = {"resourceId": ID, "startDate": "2028-02-28", "endDate": "2028-03-01"}  # may lie too far ahead: that is told
STALE = "stale"
# Empty requests to methods whose effect nobody wants: validation refuses them, after everything else.
UNREAD = ("INVALID_FIELD",)

ROWS: Mapping[str, Row] = {
    "auth.v1.AuthService/Register": _row(passes=UNREAD),
    "auth.v1.AuthService/VerifyEmail": _row(passes=UNREAD),
    "auth.v1.AuthService/ResendOtp": _row(passes=UNREAD),
    "auth.v1.AuthService/Login": _row(passes=UNREAD),
    "auth.v1.AuthService/Refresh": _row(passes=UNREAD),
    "auth.v1.AuthService/Logout": _row(passes=UNREAD),
    "auth.v1.UserService/GetMe": _row(),
    "auth.v1.UserService/UpdateMe": _row(body={"etag": STALE}, passes=("ETAG_MISMATCH",)),
    "auth.v1.TenantService/CreateTenant": _row(passes=UNREAD),
    "auth.v1.TenantService/GetTenant": _row("tenant", {"tenantId": ID}, may=(May.PLATFORM,)),
    "auth.v1.TenantService/ListTenants": _row(),
    "auth.v1.TenantService/SuspendTenant": _row("spare", {"tenantId": ID}, may=(May.PLATFORM,)),
    "auth.v1.TenantService/ResumeTenant": _row("spare", {"tenantId": ID}, may=(May.PLATFORM,)),
    "auth.v1.KeyService/GetJwks": _row(),
    "auth.v1.DirectoryService/ResolveTenant": _row(passes=UNREAD),
    "auth.v1.DirectoryService/GetContact": _row("user", {"userId": ID}, may=(May.TENANT,)),
    "auth.v1.DirectoryService/GetOtp": _row(passes=UNREAD),
    "auth.v1.DirectoryService/GrantVendor": _row(passes=UNREAD),
    "inventory.v1.AvailabilityService/CheckAvailability": _row("resource", NIGHT, may=(May.TENANT,)),
    "inventory.v1.AvailabilityService/GetCalendar": _row("resource", NIGHT, may=(May.TENANT,)),
    "inventory.v1.AvailabilityService/ListSlots": _row(
        "resource", {"resourceId": ID, "date": "2028-02-29"}, may=(May.TENANT,), passes=("OK", "NOT_BOOKABLE")
    ),
    "inventory.v1.AvailabilityService/CreateQuote": _row(
        "resource", {"items": [NIGHT]}, may=(May.TENANT,), passes=("OK", "NOT_BOOKABLE")
    ),
    "inventory.v1.HoldService/PlaceHold": _row("quote", {"quoteId": ID}, may=(May.PERSON,), hidden="QUOTE_INVALID"),
    "inventory.v1.HoldService/GetHold": _row("hold", {"holdId": ID}, may=(May.PERSON,)),
    "inventory.v1.HoldService/ExtendHold": _row(
        "hold", {"holdId": ID, "ttl": "900s"}, may=(May.PERSON,), passes=("OK", "HOLD_ENDED")
    ),
    "inventory.v1.HoldService/ReleaseHold": _row("hold", {"holdId": ID}, may=(May.PERSON,)),
    "inventory.v1.BookingHoldService/PlaceBookingHold": _row(passes=UNREAD),
    "inventory.v1.BookingHoldService/PostHold": _row("booking", {"bookingId": ID, "step": "book"}),
    "inventory.v1.BookingHoldService/VoidHold": _row(passes=UNREAD),
    "inventory.v1.BookingHoldService/CancelPostedHold": _row("booking", {"bookingId": ID, "step": "book"}),
    "inventory.v1.VendorService/CreateVendor": _row(passes=UNREAD),
    "inventory.v1.VendorService/GetVendor": _row("vendor", {"vendorId": ID}, may=(*THEIRS, May.OPEN, May.REVIEWER)),
    "inventory.v1.VendorService/ListVendors": _row(),
    "inventory.v1.VendorService/UpdateVendor": _row(
        "vendor", {"vendorId": ID, "displayName": "Taken", "etag": STALE}, may=THEIRS, passes=("ETAG_MISMATCH",)
    ),
    "inventory.v1.VendorService/SubmitVendor": _row(
        "vendor", {"vendorId": ID}, may=THEIRS, passes=("VENDOR_STATE_INVALID",)
    ),
    "inventory.v1.VendorService/ApproveVendor": _row(
        "vendor", {"vendorId": ID}, may=(May.REVIEWER,), passes=("VENDOR_STATE_INVALID",)
    ),
    "inventory.v1.VendorService/RejectVendor": _row(
        "vendor", {"vendorId": ID}, may=(May.REVIEWER,), passes=("VENDOR_STATE_INVALID",)
    ),
    "inventory.v1.ResourceService/CreateResource": _row(
        "draft",
        {
            "vendorId": ID,
            "name": "Never",
            "kind": "STAY",
            "timeZone": "Europe/London",
            "capacity": 1,
            "price": {"unitPrice": {"currencyCode": "GBP", "amount": "1.00"}},
        },
        may=THEIRS,
        passes=("VENDOR_STATE_INVALID",),
    ),
    "inventory.v1.ResourceService/GetResource": _row("resource", {"resourceId": ID}, may=(May.TENANT,)),
    "inventory.v1.ResourceService/ListResources": _row("vendor", {"vendorId": ID}, may=(May.TENANT,), hidden="OK"),
    "inventory.v1.ResourceService/UpdateResource": _row(
        "resource", {"resourceId": ID, "name": "Taken", "etag": STALE}, may=THEIRS, passes=("ETAG_MISMATCH",)
    ),
    "inventory.v1.ResourceService/ArchiveResource": _row(
        "resource", {"resourceId": ID, "etag": STALE}, may=THEIRS, passes=("ETAG_MISMATCH",)
    ),
    "booking.v1.BookingService/CreateBooking": _row(
        "quote", {"quoteId": ID, "userDetails": GUEST}, may=(May.PERSON,), hidden="QUOTE_INVALID"
    ),
    "booking.v1.BookingService/GetBooking": _row("booking", {"bookingId": ID}, may=VISIBLE),
    "booking.v1.BookingService/ListUserBookings": _row(
        "user", {"userId": ID}, may=(May.PERSON, May.SEES_ALL), blind=(May.SEES_ALL,)
    ),
    "booking.v1.BookingService/ListVendorBookings": _row(
        "vendor", {"vendorId": ID}, may=(May.STAFF, May.SEES_ALL), blind=(May.SEES_ALL,)
    ),
    "booking.v1.BookingService/GetBookingHistory": _row("booking", {"bookingId": ID}, may=VISIBLE),
    "booking.v1.BookingService/GetCancellationQuote": _row("booking", {"bookingId": ID}, may=VISIBLE),
    "booking.v1.BookingService/CancelBooking": _row(
        "booking", {"bookingId": ID, "etag": STALE}, may=VISIBLE, passes=("ETAG_MISMATCH",)
    ),
    "booking.v1.BookingService/AttemptBookingPayment": _row(
        "booking",
        {"bookingId": ID, "paymentDetails": {"token": "pm_card_visa"}},
        may=(May.PERSON,),
        passes=("BOOKING_STATE_INVALID",),
    ),
    "booking.v1.BookingDirectoryService/DescribeBooking": _row("booking", {"bookingId": ID}, may=(May.TENANT,)),
    "payment.v1.PaymentService/GetPayment": _row("payment", {"paymentId": ID}, may=VISIBLE),
    "payment.v1.PaymentService/ListBookingPayments": _row("booking", {"bookingId": ID}, may=VISIBLE, hidden="OK"),
    "payment.v1.PaymentService/CreateRefund": _row(
        "payment",
        {"paymentId": ID, "amount": {"currencyCode": "GBP", "amount": "100000.00"}},
        may=(May.STAFF, May.SEES_ALL),
        passes=("REFUND_EXCEEDS_PAYMENT",),
    ),
    "payment.v1.WebhookService/HandleStripe": _row(
        body={"contentType": "application/json", "data": "e30="}, passes=("SIGNATURE_INVALID",)
    ),
    "payment.v1.ChargeService/StartPayment": _row(passes=UNREAD),
    "payment.v1.ChargeService/AttemptPayment": _row(passes=UNREAD),
    "payment.v1.ChargeService/GetCharge": _row("booking", {"bookingId": ID}, may=(May.TENANT,)),
    "payment.v1.ChargeService/CancelPayment": _row(passes=UNREAD),
    "payment.v1.ChargeService/RefundPayment": _row(
        "booking",
        {"bookingId": ID, "step": "too-much", "amount": {"currencyCode": "GBP", "amount": "100000.00"}},
        may=(May.TENANT,),
        passes=("REFUND_EXCEEDS_PAYMENT",),
    ),
    "notification.v1.NotificationService/ListNotifications": _row(),
    "notification.v1.NotificationService/ReadNotification": _row(
        "notification", {"notificationId": ID}, may=(May.PERSON,)
    ),
    "notification.v1.NotificationService/ListDeliveries": _row(),
}


def rowless(paths: Iterable[str], rows: Mapping[str, Row] = ROWS) -> list[str]:
    """The methods that nobody has thought about yet."""
    return [path for path in paths if path.removeprefix("/berth.") not in rows]


def row_of(path: str) -> Row:
    """The row of `/berth.booking.v1.BookingService/GetBooking`."""
    return ROWS[path.removeprefix("/berth.")]
