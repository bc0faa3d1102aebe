"""Vendors and resources: what they are made of, how vendors move, and which rules a resource may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from math import gcd
from types import MappingProxyType
from zoneinfo import ZoneInfo

from services.chassis.errors import InvalidField, Violation
from services.chassis.money import Money
from services.inventory.domain.errors import VendorStateInvalid
from services.inventory.domain.zones import known_zones

MINUTES_A_DAY = 1440
CELL_MINUTES = 15  # the coarsest grid of appointments: every zone's offset is a multiple of it
MAX_PRICE_MINOR = 10**11
DEFAULT_MAX_NIGHTS = 30
DEFAULT_CHECK_IN = 15 * 60  # minutes after midnight
DEFAULT_CHECK_OUT = 11 * 60


class VendorStatus(StrEnum):
    """Where a vendor stands."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"


VENDOR_MOVES: MappingProxyType[VendorStatus, frozenset[VendorStatus]] = MappingProxyType(
    {
        VendorStatus.SUBMITTED: frozenset({VendorStatus.DRAFT, VendorStatus.REJECTED}),
        VendorStatus.APPROVED: frozenset({VendorStatus.SUBMITTED}),
        VendorStatus.REJECTED: frozenset({VendorStatus.SUBMITTED}),
    }
)


@dataclass(frozen=True, slots=True)
class Vendor:
    """Somebody who sells."""

    vendor_id: str
    display_name: str
    status: VendorStatus
    owner_user_id: str
    create_time: datetime
    update_time: datetime
    version: int = 1
    review_note: str = ""  # what a reviewer wants changed

    def check_move(self, to: VendorStatus) -> None:
        """Refuse a move that the vendor's state does not allow."""
        if self.status not in VENDOR_MOVES[to]:
            raise VendorStateInvalid(status=self.status)


class Kind(StrEnum):
    """How a resource is booked."""

    STAY = "STAY"
    APPOINTMENT = "APPOINTMENT"


class ResourceStatus(StrEnum):
    """Whether a resource can be booked."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"


class CancellationPolicy(StrEnum):
    """A named set of refund tiers, which booking owns."""

    FLEXIBLE = "FLEXIBLE"
    MODERATE = "MODERATE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit costs."""

    unit: Money
    fee: Money
    tax_basis_points: int = 0


@dataclass(frozen=True, slots=True)
class StayRules:
    """Rules of a nightly stay; times are minutes after local midnight."""

    min_nights: int = 1
    max_nights: int = DEFAULT_MAX_NIGHTS
    check_in: int = DEFAULT_CHECK_IN
    check_out: int = DEFAULT_CHECK_OUT


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """One opening of a week; times are minutes after local midnight, `close` at most 24 hours."""

    day_of_week: int  # 1 is Monday
    open: int
    close: int


@dataclass(frozen=True, slots=True)
class AppointmentRules:
    """Rules of appointments."""

    slot_minutes: int
    max_slots: int = 1
    buffer_minutes: int = 0
    openings: tuple[Opening, ...] = ()

    @property
    def cell_minutes(self) -> int:
        """The size of the grid's cells: as coarse as the slots' beginnings allow, which a change of rules never moves.

        A buffer is rounded up to whole cells. No offer is lost by it: slots begin on cells only.
        """
        return gcd(self.slot_minutes, CELL_MINUTES)


@dataclass(frozen=True, slots=True)
class Resource:
    """Something bookable."""

    resource_id: str
    vendor_id: str
    name: str
    kind: Kind
    time_zone: str
    capacity: int
    price: Price
    create_time: datetime
    update_time: datetime
    stay: StayRules | None = None
    appointment: AppointmentRules | None = None
    description: str = ""
    status: ResourceStatus = ResourceStatus.ACTIVE
    cancellation_policy: CancellationPolicy = CancellationPolicy.MODERATE
    version: int = 1
    zone: ZoneInfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "zone", ZoneInfo(self.time_zone))  # the way to fill in a frozen instance

    @property
    def cell_minutes(self) -> int:
        """The size of a cell of the grid in which its units are counted; a night is a cell of a day."""
        return self.appointment.cell_minutes if self.appointment else MINUTES_A_DAY


def etag_of(version: int) -> str:
    """A version as clients see it."""
    return f"v{version}"


def check_zone(time_zone: str) -> None:
    """Refuse a zone that the IANA database does not know."""
    if time_zone not in known_zones():
        raise InvalidField(violations=[Violation("time_zone", "must be an IANA zone, such as Europe/Berlin")])


def check_rules(price: Price, stay: StayRules | None, appointment: AppointmentRules | None) -> None:
    """Refuse prices and rules that contradict themselves."""
    violations = list(_price_violations(price))
    if stay is not None and stay.min_nights > stay.max_nights:
        violations.append(Violation("stay.max_nights", "must not be less than minNights"))
    if appointment is not None:
        violations += _appointment_violations(appointment)
    if violations:
        raise InvalidField(violations=violations)


def _price_violations(price: Price) -> list[Violation]:
    found: list[Violation] = []
    for name, money in (("price.unit_price", price.unit), ("price.fee", price.fee)):
        if not 0 <= money.minor <= MAX_PRICE_MINOR:
            found.append(Violation(name, "must be an amount from 0 to a thousand million"))
    if price.fee.currency != price.unit.currency:
        found.append(Violation("price.fee", "must be in the unit price's currency"))
    return found


def _appointment_violations(rules: AppointmentRules) -> list[Violation]:
    found: list[Violation] = []
    if rules.buffer_minutes % 5:
        found.append(Violation("appointment.buffer_minutes", "must be a multiple of five"))
    before: Opening | None = None
    for opening in sorted(rules.openings):
        if opening.open >= opening.close:
            found.append(Violation("appointment.opening_hours", "must open before they close"))
        elif before is not None and before.day_of_week == opening.day_of_week and opening.open < before.close:
            found.append(Violation("appointment.opening_hours", "must not overlap"))
        before = opening
    return found
