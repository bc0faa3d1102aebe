"""Two marketplaces with their people and what they own: made once, through REST, for all suites of the session."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import psycopg

from tests.journey.world.calls import Calls
from tests.journey.world.people import Person, newcomer, promote, seeded, settle
from tests.journey.world.things import Thing, missing

DEMO = "ten_01kdwcj2m0f5k8xwatxbn3cw00"
DEMO_VENDOR = "vnd_01kdwcj2m4e28bt3ghmcnm09d1"
DEMO_STAY = "res_01kdwcj2m5faaspryz8sdw8sd1"
DEMO_CLINIC = "res_01kdwcj2m7erdaaahh2ngk2jd1"
CARD = "pm_card_visa"
GUEST = {
    "firstName": "Bartholomea",
    "lastName": "Quillfeather",
    "email": "bartholomea.quillfeather@guests.example",
    "phone": "+4940765432199",
}


@dataclass(slots=True)
class World:
    """Who there is, and what there is."""

    calls: Calls
    people: dict[str, Person] = field(default_factory=dict)
    things: dict[str, list[Thing]] = field(default_factory=dict)
    foreign_tenant: str = ""  # its id
    rooms: dict[str, str] = field(default_factory=dict)  # a resource with room for everybody, by tenant slug
    _days: itertools.count[int] = field(default_factory=lambda: itertools.count(60))

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def of(self, kind: str) -> list[Thing]:
        """The things of a kind, and one that does not exist."""
        return [*self.things[kind], missing(kind)]

    def thing(self, kind: str, name: str) -> Thing:
        """One thing by its name."""
        return next(thing for thing in self.things[kind] if thing.name == name)

    def night(self, slug: str = "demo") -> dict[str, Any]:
        """A night that nobody asked for yet."""
        day = date.today() + timedelta(days=next(self._days))  # noqa: DTZ011 - far enough ahead in every zone
        return {
            "resourceId": self.rooms[slug],
            "startDate": day.isoformat(),
            "endDate": (day + timedelta(days=1)).isoformat(),
            "quantity": 1,
        }

    def book(self, person: Person, *, paid: bool = True) -> Mapping[str, Any]:
        """A booking of a night; CONFIRMED when paid."""
        order: dict[str, Any] = {**self.night(person.tenant), "userDetails": GUEST}
        if paid:
            order["paymentDetails"] = {"token": CARD}
        return person.must("booking.v1.BookingService/CreateBooking", order)

    def hold(self, person: Person) -> str:
        """A hold of a night."""
        held = person.must("inventory.v1.HoldService/PlaceHold", {"items": [self.night(person.tenant)]})
        return str(held["holdId"])

    def quote(self, person: Person) -> str:
        """A quote of a night."""
        quoted = person.must("inventory.v1.AvailabilityService/CreateQuote", {"items": [self.night(person.tenant)]})
        return str(quoted["quoteId"])


def build(calls: Calls) -> World:
    """Makes the world."""
    world = World(calls)
    for what, value in GUEST.items():
        calls.used.add(f"guest's {what}", value)
    _people(world)
    _sellers(world)
    _things(world)
    return world


def _people(world: World) -> None:
    calls = world.calls
    for name, password in (
        ("customer", "harbour-lights-42"),
        ("owner", "harbour-master-42"),
        ("admin", "harbour-keeper-42"),
        ("platform", "harbour-pilot-42"),
    ):
        world.people[name] = seeded(calls, name, f"{name}@demo.berth.example", password)
        world.people[name].log_in()
    slug = f"quay-{uuid.uuid4().hex[:10]}"
    for kind, name in (("tenant", slug), ("spare", f"spare-{slug}")):
        made = world["platform"].must(
            "auth.v1.TenantService/CreateTenant", {"slug": name, "displayName": "Another marketplace"}
        )
        world.things[kind] = [Thing("another", made["tenantId"], made["tenantId"])]
    world.things["tenant"].append(Thing("demo", DEMO, DEMO))
    world.foreign_tenant = world.things["tenant"][0].id
    at = {"other": "demo", "rival": "demo", "support": "demo", "stranger": slug, "foreigner": slug}
    world.people |= {name: newcomer(calls, name, tenant) for name, tenant in at.items()}
    settle(world[name] for name in at)
    promote(world["support"], "support")
    promote(world["foreigner"], "admin")
    world.things["user"] = [
        Thing(name, world[name].user_id, world[name].claims["ten"], world[name].user_id)
        for name in ("customer", "other", "stranger")
    ]


def _sellers(world: World) -> None:
    world.rooms["demo"] = _shop(world, world["rival"], reviewer=world["admin"], name="rival's")
    foreigner = world["foreigner"]
    world.rooms[foreigner.tenant] = _shop(world, foreigner, reviewer=foreigner, name="foreigner's")
    owner = world["owner"].user_id
    world.things["vendor"].append(Thing("owner's", DEMO_VENDOR, DEMO, owner, DEMO_VENDOR, open=True))
    world.things["resource"] += [
        Thing("owner's stay", DEMO_STAY, DEMO, owner, DEMO_VENDOR, open=True),
        Thing("owner's clinic", DEMO_CLINIC, DEMO, owner, DEMO_VENDOR, open=True),
    ]


def _shop(world: World, seller: Person, *, reviewer: Person, name: str) -> str:
    """An approved vendor with a large hotel, and a second vendor that stays a draft; answers the hotel's id."""
    ids: list[str] = []
    for _ in range(2):
        vendor = seller.must("inventory.v1.VendorService/CreateVendor", {"displayName": f"House of the {seller.name}"})
        ids.append(vendor["vendorId"])
    seller.log_in()  # the token now names the vendors
    seller.must("inventory.v1.VendorService/SubmitVendor", {"vendorId": ids[0]})
    reviewer.must("inventory.v1.VendorService/ApproveVendor", {"vendorId": ids[0]})
    hotel = seller.must(
        "inventory.v1.ResourceService/CreateResource",
        {
            "vendorId": ids[0],
            "name": f"Large hotel of the {seller.name}",
            "kind": "STAY",
            "timeZone": "Europe/London",
            "capacity": 500,
            "price": {"unitPrice": {"currencyCode": "GBP", "amount": "80.00"}},
        },
    )
    tenant, user = seller.claims["ten"], seller.user_id
    world.things.setdefault("vendor", []).append(Thing(name, ids[0], tenant, user, ids[0], open=True))
    world.things.setdefault("draft", []).append(Thing(name, ids[1], tenant, user, ids[1]))
    world.things.setdefault("resource", []).append(Thing(name, hotel["resourceId"], tenant, user, ids[0], open=True))
    return str(hotel["resourceId"])


def _things(world: World) -> None:
    for kind in ("booking", "payment", "hold", "quote", "notification"):
        world.things[kind] = []
    for name in ("customer", "other", "stranger"):
        person = world[name]
        tenant, user = person.claims["ten"], person.user_id
        if name == "customer":  # at the demo's own hotel, whose owner is another person than the rival
            day = date.today() + timedelta(days=50)  # noqa: DTZ011 - far enough ahead in every zone
            order = {"resourceId": DEMO_STAY, "startDate": day.isoformat(), "endDate": str(day + timedelta(days=1))}
            booking = person.must(
                "booking.v1.BookingService/CreateBooking",
                {**order, "userDetails": GUEST, "paymentDetails": {"token": CARD}},
            )
        else:
            booking = world.book(person)
        assert booking["status"] == "CONFIRMED", booking
        vendor = booking["vendorId"]
        facts = (tenant, user, vendor)
        world.things["booking"].append(Thing(f"{name}'s", booking["bookingId"], *facts))
        world.things["payment"].append(Thing(f"{name}'s", booking["payment"]["paymentId"], *facts))
        world.things["hold"].append(Thing(f"{name}'s", world.hold(person), tenant, user))
        world.things["quote"].append(Thing(f"{name}'s", world.quote(person), tenant, user))
    for name in ("customer", "other", "stranger"):
        person = world[name]
        shown = _first_notification(world, person)
        world.things["notification"].append(Thing(f"{name}'s", shown, person.claims["ten"], person.user_id))


def _first_notification(world: World, person: Person) -> str:
    found: list[str] = []

    def arrived() -> bool:
        listed = person.must("notification.v1.NotificationService/ListNotifications", {})
        found.extend(message["notificationId"] for message in listed["notifications"])
        return bool(found)

    world.calls.mesh.wait(arrived, f"a message to the {person.name}", 30.0)
    return found[0]


def suspend(person: Person) -> None:
    """Suspends an account; no method does so yet, so the superuser does."""
    with psycopg.connect(person.calls.mesh.superuser_url("auth")) as connection:
        connection.execute("UPDATE users SET status = 'SUSPENDED' WHERE user_id = %s", (person.user_id,))
