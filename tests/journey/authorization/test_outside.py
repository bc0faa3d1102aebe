"""The matrix from outside: every method × everybody × every object, by REST and by gRPC through the gateway."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from gateway.contract import Contract, Method
from tests.journey.authorization.actors import ROLES, Actor, actors, expected, relations
from tests.journey.authorization.ownership import ROWS, row_of, rowless
from tests.journey.world.calls import Calls, Reply
from tests.journey.world.things import Thing
from tests.journey.world.world import World

METHODS = Contract.read().methods
EXTERNAL = [method for method in METHODS if method.external]
INTERNAL = [method for method in METHODS if not method.external]


def by_path(method: Method) -> str:
    """A test's name for a method."""
    return method.path.removeprefix("/berth.")


class Tally:
    """How much was checked."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.actors: set[str] = set()
        self.objects: set[str] = set()
        self.began = time.monotonic()


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts, and tells at the end."""
    counted = Tally()
    yield counted
    took = time.monotonic() - counted.began
    print(  # noqa: T201 - a measure worth seeing
        f"\nauthorization: {len(counted.rows)} methods × {len(counted.actors)} actors × {len(counted.objects)} objects,"
        f" {sum(counted.rows.values())} answers checked in {took:.1f} s"
    )


@pytest.fixture(scope="module")
def everybody(world: World) -> list[Actor]:
    """Who calls."""
    return list(actors(world))


def both_ways(calls: Calls, method: Method, fields: dict[str, object], actor: Actor) -> Iterator[tuple[str, Reply]]:
    """The answers by REST and by gRPC."""
    yield "REST", calls.by_rest(method, fields, actor.headers)
    yield "gRPC", calls.by_grpc(method, fields, actor.headers)


def test_every_method_has_a_row() -> None:
    assert rowless(method.path for method in METHODS) == []
    known = {method.path.removeprefix("/berth.") for method in METHODS}
    assert sorted(ROWS.keys() - known) == []


def test_a_new_method_without_a_row_is_named() -> None:
    assert rowless(["/berth.auth.v1.UserService/GetMe", "/berth.auth.v1.UserService/DeleteMe"]) == [
        "/berth.auth.v1.UserService/DeleteMe"
    ]


def test_tokens_say_what_the_roles_grant(everybody: list[Actor]) -> None:
    people = [actor for actor in everybody if actor.person is not None]
    assert {actor.name for actor in people} == set(ROLES)
    for actor in people:
        assert actor.person is not None
        assert actor.person.permissions == actor.permissions, actor.name
        assert actor.person.claims["exp"] - actor.person.claims["iat"] <= 300, actor.name


@pytest.mark.parametrize("method", EXTERNAL, ids=by_path)
def test_an_external_method(method: Method, world: World, calls: Calls, everybody: list[Actor], tally: Tally) -> None:
    row = row_of(method.path)
    things = world.of(row.kind) if row.kind else [None]
    wrong = [fault for actor in everybody for fault in faults(calls, method, actor, things, tally)]
    assert wrong == []


def faults(calls: Calls, method: Method, actor: Actor, things: Sequence[Thing | None], tally: Tally) -> Iterator[str]:
    """What is wrong with the answers that the actor gets about the things."""
    row = row_of(method.path)
    tally.actors.add(actor.name)
    of_missing: dict[str, Reply] = {}
    # What is missing comes first: who may not know of an object must hear the same as of one that is not there.
    # Who has no good token is refused before anything is looked at: one object is enough.
    for thing in reversed(things) if actor.good else things[:1]:
        name = thing.name if thing is not None else "-"
        wanted = expected(method, row, actor, thing)
        hidden = actor.good and thing is not None and not row.may & relations(actor, thing)
        for wire, reply in both_ways(calls, method, row.fields(thing), actor):
            if name == "missing":
                of_missing[wire] = reply
            if reply.reason not in wanted:
                yield f"{actor.name} × {name} by {wire}: {reply.reason}, not {sorted(wanted)}: {reply.body}"
            if hidden and _seen(reply) != _seen(of_missing[wire]):
                yield f"{actor.name} × {name} by {wire}: {reply.body}, but a missing one: {of_missing[wire].body}"
            tally.rows[method.path] += 1
        tally.objects.add(name)


def _seen(reply: Reply) -> tuple[str, str, object, int]:
    return reply.code, reply.reason, reply.body, reply.http


@pytest.mark.parametrize("method", INTERNAL, ids=by_path)
def test_an_internal_method_has_no_way_in(
    method: Method, world: World, calls: Calls, everybody: list[Actor], tally: Tally
) -> None:
    row = row_of(method.path)
    thing = world.of(row.kind)[0] if row.kind else None
    for actor in everybody:
        grpc = calls.by_grpc(method, row.fields(thing), actor.headers)
        assert (grpc.code, grpc.reason) == ("UNIMPLEMENTED", "METHOD_UNKNOWN"), actor.name
        rest = calls.read(calls.http.post(method.path, json=row.fields(thing), headers=actor.headers))
        assert (rest.http, rest.reason) == (404, "ROUTE_NOT_FOUND"), actor.name
        tally.rows[method.path] += 2
