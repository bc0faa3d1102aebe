"""One good request for each method from outside, and who may send it: what wrong ones are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.journey.world.people import Person
from tests.journey.world.world import CARD, DEMO_VENDOR, GUEST, World

SELLER, PLATFORM, ADMIN = "rival", "platform", "admin"


@dataclass(frozen=True, slots=True)
class Good:
    """A request and its sender; nobody where no token is needed."""

    sender: Person | None
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """What the call carries."""
        return self.sender.headers if self.sender is not None else {"Berth-Tenant": "demo"}


def requests(world: World) -> dict[str, Good]:
    """The good requests by method; their objects are nobody else's."""
    seller, platform, admin = world[SELLER], world[PLATFORM], world[ADMIN]
    vendor = world.thing("vendor", "rival's").id
    room = seller.must("inventory.v1.ResourceService/CreateResource", a_room(vendor))["resourceId"]
    night = {"resourceId": room, "startDate": "2028-02-28", "endDate": "2028-02-29", "quantity": 1}
    booking = world.book(seller, paid=False)
    paid = world.book(seller)
    hold = world.hold(seller)
    who = {"email": "nobody@mail.example", "password": "a calm and quiet quay"}
    nobody = Good(None, who)
    return {
        "auth.v1.AuthService/Register": Good(None, {**who, "firstName": "Ada", "lastName": "Lovelace"}),
        "auth.v1.AuthService/VerifyEmail": Good(None, {"email": who["email"], "otp": "123456"}),
        "auth.v1.AuthService/ResendOtp": Good(None, {"email": who["email"]}),
        "auth.v1.AuthService/Login": nobody,
        "auth.v1.AuthService/Refresh": Good(None, {"refreshToken": "nothing"}),
        "auth.v1.AuthService/Logout": Good(None, {"refreshToken": "nothing"}),
        "auth.v1.UserService/GetMe": Good(seller),
        "auth.v1.UserService/UpdateMe": Good(seller, {"firstName": "Xanthippe", "updateMask": "firstName"}),
        "auth.v1.TenantService/CreateTenant": Good(platform, {"slug": "demo", "displayName": "Taken"}),
        "auth.v1.TenantService/GetTenant": Good(platform, {"tenantId": world.foreign_tenant}),
        "auth.v1.TenantService/ListTenants": Good(platform, {"pageSize": 5}),
        "auth.v1.TenantService/SuspendTenant": Good(platform, {"tenantId": world.thing("spare", "another").id}),
        "auth.v1.TenantService/ResumeTenant": Good(platform, {"tenantId": world.thing("spare", "another").id}),
        "auth.v1.KeyService/GetJwks": Good(None),
        "inventory.v1.AvailabilityService/CheckAvailability": Good(None, night),
        "inventory.v1.AvailabilityService/GetCalendar": Good(
            None, {"resourceId": room, "startDate": "2028-02-28", "endDate": "2028-03-02"}
        ),
        "inventory.v1.AvailabilityService/ListSlots": Good(None, {"resourceId": room, "date": "2028-02-29"}),
        "inventory.v1.AvailabilityService/CreateQuote": Good(seller, {"items": [night]}),
        "inventory.v1.HoldService/PlaceHold": Good(seller, {"items": [night], "ttl": "60s"}),
        "inventory.v1.HoldService/GetHold": Good(seller, {"holdId": hold}),
        "inventory.v1.HoldService/ExtendHold": Good(seller, {"holdId": hold, "ttl": "600s"}),
        "inventory.v1.HoldService/ReleaseHold": Good(seller, {"holdId": hold}),
        "inventory.v1.VendorService/CreateVendor": Good(seller, {"displayName": "Another house"}),
        "inventory.v1.VendorService/GetVendor": Good(None, {"vendorId": vendor}),
        "inventory.v1.VendorService/ListVendors": Good(None, {"pageSize": 5}),
        "inventory.v1.VendorService/UpdateVendor": Good(
            seller, {"vendorId": vendor, "displayName": "A house", "updateMask": "displayName"}
        ),
        "inventory.v1.VendorService/SubmitVendor": Good(seller, {"vendorId": vendor}),
        "inventory.v1.VendorService/ApproveVendor": Good(admin, {"vendorId": DEMO_VENDOR}),
        "inventory.v1.VendorService/RejectVendor": Good(admin, {"vendorId": DEMO_VENDOR, "reason": "no"}),
        "inventory.v1.ResourceService/CreateResource": Good(seller, a_room(vendor)),
        "inventory.v1.ResourceService/GetResource": Good(None, {"resourceId": room}),
        "inventory.v1.ResourceService/ListResources": Good(None, {"pageSize": 5, "vendorId": vendor}),
        "inventory.v1.ResourceService/UpdateResource": Good(
            seller, {"resourceId": room, **_but(a_room(vendor), "vendorId", "kind", "timeZone")}
        ),
        "inventory.v1.ResourceService/ArchiveResource": Good(seller, {"resourceId": room, "etag": "stale"}),
        "booking.v1.BookingService/CreateBooking": Good(
            seller, {**night, "userDetails": GUEST, "paymentMethod": "credit_card", "paymentDetails": {"token": CARD}}
        ),
        "booking.v1.BookingService/GetBooking": Good(seller, {"bookingId": paid["bookingId"]}),
        "booking.v1.BookingService/ListUserBookings": Good(seller, {"userId": "me", "page": 1, "limit": 5}),
        "booking.v1.BookingService/ListVendorBookings": Good(seller, {"vendorId": vendor, "pageSize": 5}),
        "booking.v1.BookingService/GetBookingHistory": Good(seller, {"bookingId": paid["bookingId"]}),
        "booking.v1.BookingService/GetCancellationQuote": Good(seller, {"bookingId": paid["bookingId"]}),
        "booking.v1.BookingService/CancelBooking": Good(seller, {"bookingId": paid["bookingId"], "etag": "stale"}),
        "booking.v1.BookingService/AttemptBookingPayment": Good(
            seller, {"bookingId": booking["bookingId"], "paymentDetails": {"token": "pm_card_visa_chargeDeclined"}}
        ),
        "payment.v1.PaymentService/GetPayment": Good(seller, {"paymentId": paid["payment"]["paymentId"]}),
        "payment.v1.PaymentService/ListBookingPayments": Good(seller, {"bookingId": paid["bookingId"]}),
        "payment.v1.PaymentService/CreateRefund": Good(
            seller,
            {
                "paymentId": paid["payment"]["paymentId"],
                "amount": {"currencyCode": "GBP", "amount": "100000.00"},
                "reason": "kindness",
            },
        ),
        "payment.v1.WebhookService/HandleStripe": Good(None, {"contentType": "application/json", "data": "e30="}),
        "notification.v1.NotificationService/ListNotifications": Good(seller, {"pageSize": 5}),
        "notification.v1.NotificationService/ReadNotification": Good(
            world["other"], {"notificationId": world.thing("notification", "other's").id}
        ),
        "notification.v1.NotificationService/ListDeliveries": Good(admin, {"pageSize": 5}),
    }


def a_room(vendor_id: str) -> dict[str, Any]:
    """A resource to create."""
    return {
        "vendorId": vendor_id,
        "name": "A room",
        "description": "With a view",
        "kind": "STAY",
        "timeZone": "Europe/London",
        "capacity": 1000,
        "price": {"unitPrice": {"currencyCode": "GBP", "amount": "10.00"}, "taxBasisPoints": 700},
        "stay": {"minNights": 1, "maxNights": 30, "checkInTime": "15:00", "checkOutTime": "11:00"},
        "cancellationPolicy": "FLEXIBLE",
    }


def _but(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}
