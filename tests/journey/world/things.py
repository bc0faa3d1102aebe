"""What the people of the tests own, by kind: bookings, vendors, holds, and the id of one that does not exist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from services.chassis.ids import new_id

PREFIX = {
    "booking": "bkg",
    "draft": "vnd",
    "hold": "hld",
    "notification": "ntf",
    "payment": "pay",
    "quote": "quo",
    "resource": "res",
    "spare": "ten",
    "tenant": "ten",
    "user": "usr",
    "vendor": "vnd",
}


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that an id names, with the facts that decide who may reach it."""

    name: str
    id: str
    tenant_id: str = ""
    user_id: str = ""  # whose it is
    vendor_id: str = ""  # whose people serve it
    open: bool = False  # to everybody of its tenant


def missing(kind: str) -> Thing:
    """One that does not exist."""
    return Thing("missing", new_id(PREFIX[kind], at=datetime.now(UTC)))
