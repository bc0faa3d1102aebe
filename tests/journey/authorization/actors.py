"""Who calls from outside, and what the contracts and the table of ownership say that they must be answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.contract import Method
from services.auth.domain.roles import PERMISSIONS, Role
from tests.journey.authorization.ownership import May, Row
from tests.journey.world.people import Person
from tests.journey.world.things import Thing
from tests.journey.world.tokens import forgeries
from tests.journey.world.world import World

# What each of the people is. Their tokens must say no less and no more.
ROLES = {
    "customer": (Role.CUSTOMER,),
    "other": (Role.CUSTOMER,),
    "owner": (Role.CUSTOMER, Role.VENDOR_OWNER),
    "rival": (Role.CUSTOMER, Role.VENDOR_OWNER),
    "support": (Role.SUPPORT,),
    "admin": (Role.ADMIN,),
    "platform": (Role.PLATFORM_ADMIN,),
    "stranger": (Role.CUSTOMER,),
    "foreigner": (Role.ADMIN, Role.VENDOR_OWNER),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody outside."""

    name: str
    tenant: str  # the slug that the call names
    token: str = ""
    person: Person | None = None  # whose token it is, if it is a good one
    permissions: frozenset[str] = frozenset()
    tenant_id: str = ""

    @property
    def good(self) -> bool:
        """Whether the token, if there is one, is to be believed."""
        return self.person is not None or not self.token

    @property
    def headers(self) -> dict[str, str]:
        """What the actor's calls carry."""
        shown = {"Berth-Tenant": self.tenant}
        return shown | {"Authorization": f"Bearer {self.token}"} if self.token else shown


def actors(world: World) -> Iterator[Actor]:
    """Everybody: nobody in particular, the people, and those with tokens that are none."""
    demo = world["customer"].claims["ten"]
    yield Actor("anonymous", "demo", tenant_id=demo)
    for name, roles in ROLES.items():
        person = world[name]
        permissions = frozenset[str]().union(*(PERMISSIONS[role] for role in roles))
        yield Actor(name, person.tenant, person.token, person, permissions, person.claims["ten"])
    for name, token in forgeries(world.calls.mesh, world["platform"].claims).items():
        world.calls.used.add("forged token", token if len(token) > 20 else "")
        yield Actor(name, "demo", token)


def expected(method: Method, row: Row, actor: Actor, thing: Thing | None) -> frozenset[str]:
    """How the call must end: reasons, or OK."""
    policy = method.policy
    if not actor.good:
        return frozenset({"TOKEN_INVALID"})
    if policy.access == "permission":
        if actor.person is None:
            return frozenset({"TOKEN_MISSING"})
        if policy.permission not in actor.permissions:
            return frozenset({"PERMISSION_DENIED"})
    if thing is None or row.may & relations(actor, thing):
        return row.passes
    if May.SEES_ALL in row.blind and "bookings.read_all" in actor.permissions:
        return row.passes
    return frozenset({row.hidden})


def relations(actor: Actor, thing: Thing) -> frozenset[May]:
    """How the actor comes to reach the thing."""
    if not thing.tenant_id:
        return frozenset()
    found = {May.PLATFORM}
    if thing.tenant_id == actor.tenant_id:
        found.add(May.TENANT)
        if thing.open:
            found.add(May.OPEN)
        if "bookings.read_all" in actor.permissions:
            found.add(May.SEES_ALL)
        if "vendors.review" in actor.permissions:
            found.add(May.REVIEWER)
    if actor.person is not None:
        if thing.user_id == actor.person.user_id:
            found.add(May.PERSON)
        if thing.vendor_id and thing.vendor_id in actor.person.vendor_ids:
            found.add(May.STAFF)
    return frozenset(found)
