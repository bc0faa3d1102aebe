"""Why inventory refuses, beyond the reasons that every service shares."""

from __future__ import annotations

from services.chassis.errors import Refusal


class UnitsTaken(Refusal):
    """The units are taken."""

    reason = "UNITS_TAKEN"


class NotBookable(Refusal):
    """The resource cannot be booked like that."""

    reason = "NOT_BOOKABLE"


class HoldEnded(Refusal):
    """The hold has ended."""

    reason = "HOLD_ENDED"


class QuoteInvalid(Refusal):
    """The quote has ended or is not yours: ask for a new one."""

    reason = "QUOTE_INVALID"


class VendorStateInvalid(Refusal):
    """The vendor's state does not allow it."""

    reason = "VENDOR_STATE_INVALID"


class ExtensionTooLong(Refusal):
    """The hold cannot be extended that far."""

    reason = "EXTENSION_TOO_LONG"


class CapacityInUse(Refusal):
    """Fewer units would remain than are held or sold."""

    reason = "CAPACITY_IN_USE"


class ResourceStale(Exception):
    """A resource changed after an order was made from it."""

    def __init__(self, resource_ids: frozenset[str]) -> None:
        super().__init__("resources changed")
        self.resource_ids = resource_ids
