"""The matrix itself: holes planted into answers must show, and honest answers must not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from gateway.contract import Contract, Method
from services.auth.domain.roles import PERMISSIONS, Role
from tests.journey.authorization.actors import Actor
from tests.journey.authorization.test_outside import Tally, faults
from tests.journey.world.calls import Calls, Reply
from tests.journey.world.people import Person
from tests.journey.world.things import Thing

GET = next(method for method in Contract.read().methods if method.path.endswith("BookingService/GetBooking"))
MINE = Thing("mine", "bkg_1", "ten_1", "usr_1", "vnd_1")
THEIRS = Thing("theirs", "bkg_2", "ten_1", "usr_2", "vnd_2")
FOREIGN = Thing("foreign", "bkg_3", "ten_2", "usr_3", "vnd_3")
MISSING = Thing("missing", "bkg_4")
Answer = Callable[[str], Reply]


@dataclass(frozen=True)
class Claimed:
    """A person as far as the matrix looks at one."""

    user_id: str
    vendor_ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scripted:
    """A line on which a script answers."""

    answer: Answer

    def by_rest(self, method: Method, fields: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        """Both wires say the same."""
        return self.answer(fields["bookingId"])

    by_grpc = by_rest


def actor(*roles: Role, **facts: Any) -> Actor:
    """Somebody of the first tenant."""
    permissions = frozenset[str]().union(*(PERMISSIONS[role] for role in roles))
    return Actor("somebody", "demo", "token", cast("Person", Claimed("usr_1", **facts)), permissions, "ten_1")


def not_found(said: str = "not there") -> Reply:
    """What hides an object."""
    return Reply("NOT_FOUND", "NOT_FOUND", said, 404)


def shown(identifier: str) -> Reply:
    """The object itself."""
    return Reply("OK", "OK", {"bookingId": identifier}, 200)


def honest(identifier: str) -> Reply:
    """A customer's answers."""
    return shown(identifier) if identifier == MINE.id else not_found()


def found(answer: Answer, who: Actor) -> list[str]:
    """What the matrix says of the answers."""
    return list(faults(cast("Calls", Scripted(answer)), GET, who, [MINE, THEIRS, FOREIGN, MISSING], Tally()))


def test_honest_answers_pass() -> None:
    assert found(honest, actor(Role.CUSTOMER)) == []
    theirs = actor(Role.VENDOR_OWNER, vendor_ids=frozenset({"vnd_2"}))
    assert found(lambda booking: shown(booking) if booking in {"bkg_1", "bkg_2"} else not_found(), theirs) == []
    assert (
        found(lambda booking: shown(booking) if booking in {"bkg_1", "bkg_2"} else not_found(), actor(Role.ADMIN)) == []
    )


@pytest.mark.parametrize(
    ("hole", "answer"),
    [
        ("somebody else's is shown", lambda booking: honest(booking) if booking != THEIRS.id else shown(booking)),
        ("another tenant's is shown", lambda booking: honest(booking) if booking != FOREIGN.id else shown(booking)),
        (
            "another text for somebody else's",
            lambda booking: honest(booking) if booking != THEIRS.id else not_found("no"),
        ),
        ("one's own is hidden", lambda booking: not_found()),
        (
            "no permission is said to be missing",
            lambda booking: Reply("PERMISSION_DENIED", "PERMISSION_DENIED", "", 403),
        ),
    ],
)
def test_holes_show(hole: str, answer: Answer) -> None:
    assert found(answer, actor(Role.CUSTOMER)), hole


def test_a_missing_check_of_tokens_and_permissions_shows() -> None:
    nobody = Actor("anonymous", "demo", tenant_id="ten_1")
    forger = Actor("forger", "demo", "forged")
    unprivileged = Actor("somebody", "demo", "token", cast("Person", Claimed("usr_1")), frozenset(), "ten_1")
    for who in (nobody, forger, unprivileged):
        assert found(honest, who), who.name
