"""Where a booking may stand, and which changes of that are legal: the table that code and database both obey."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """Where a booking stands, in the contract's words."""

    PENDING = "PENDING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


# Every legal change; None is the beginning. The migrations carry the same pairs as a CHECK, and a test compares them.
TRANSITIONS: frozenset[tuple[Status | None, Status]] = frozenset(
    {
        (None, Status.PENDING),
        (Status.PENDING, Status.CONFIRMED),
        (Status.PENDING, Status.FAILED),
        (Status.PENDING, Status.EXPIRED),
        (Status.PENDING, Status.CANCELLED),
        (Status.CONFIRMED, Status.CANCELLED),
    }
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a booking's status, as its history keeps it."""

    from_status: Status | None
    to_status: Status
    time: datetime
    actor: str  # a person's id, or a service's name
    reason: str
