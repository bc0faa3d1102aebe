"""Roles, and the permissions that each of them grants."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """What a person is within a tenant; one person may be several."""

    CUSTOMER = "customer"
    VENDOR_OWNER = "vendor_owner"
    SUPPORT = "support"
    ADMIN = "admin"
    PLATFORM_ADMIN = "platform_admin"


_OWN_PROFILE = frozenset({"profile.read", "profile.write"})

_CUSTOMER = _OWN_PROFILE | {
    "bookings.cancel",
    "bookings.create",
    "bookings.read",
    "holds.place",
    "notifications.read",
    "payments.read",
    "quotes.create",
    "vendors.create",
}

# Whose bookings, vendors and payments these cover is decided by the owning services, by the token's vendor ids.
_VENDOR_OWNER = _CUSTOMER | {
    "bookings.manage",
    "payments.refund",
    "resources.manage",
    "vendors.manage",
}

_SUPPORT = _OWN_PROFILE | {
    "bookings.read",
    "bookings.read_all",
    "deliveries.read",
    "notifications.read",
    "payments.read",
}

_ADMIN = _SUPPORT | _VENDOR_OWNER | {"vendors.review"}

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.CUSTOMER: frozenset(_CUSTOMER),
    Role.VENDOR_OWNER: frozenset(_VENDOR_OWNER),
    Role.SUPPORT: frozenset(_SUPPORT),
    Role.ADMIN: frozenset(_ADMIN),
    Role.PLATFORM_ADMIN: frozenset(_ADMIN | {"tenants.manage"}),
}


def permissions_of(roles: Iterable[Role]) -> frozenset[str]:
    """Everything that somebody with these roles may do."""
    return frozenset().union(*(PERMISSIONS[role] for role in roles))
