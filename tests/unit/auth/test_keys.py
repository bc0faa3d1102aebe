"""Signing keys: always one that signs, one that waits, and every one that a living token names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.auth.domain.keys import signing
from services.auth.usecases.keys import hasten_rotation, published_keys, rotate_keys
from services.chassis.errors import DependencyUnavailable
from tests.ports.auth.fakes import START, World

TOKEN_LIFE = timedelta(minutes=5)


@pytest.fixture
async def world() -> World:
    world = World()
    await rotate_keys(world.ports)
    return world


def signer(world: World) -> str:
    key = signing(list(world.work.state.signing_keys.values()), world.clock.now())
    assert key is not None
    return key.key_id


async def published(world: World) -> list[str]:
    return [key.key_id for key in await published_keys(world.ports)]


async def test_the_first_run_makes_the_signing_and_the_waiting_key(world: World) -> None:
    assert len(await published(world)) == 2
    assert signer(world) == (await published(world))[0]
    assert await rotate_keys(world.ports) == 0


async def test_before_the_first_key_there_is_no_empty_set() -> None:
    with pytest.raises(DependencyUnavailable):
        await published_keys(World().ports)


async def test_through_a_year_every_living_token_finds_its_key(world: World) -> None:
    seen: dict[str, timedelta] = {}
    signers = {signer(world)}
    for hour in range(24 * 365):
        world.clock.advance(timedelta(hours=1))
        await rotate_keys(world.ports)
        known = await published(world)
        assert len(known) <= 3
        for key_id in known:
            seen.setdefault(key_id, timedelta(hours=hour))
        if signer(world) not in signers:
            signers.add(signer(world))
            assert timedelta(hours=hour) - seen[signer(world)] >= timedelta(hours=1), "known before it signs"
    assert len(signers) == 13
    assert len(world.work.state.signing_keys) <= 3


async def test_a_key_stays_published_while_its_tokens_live(world: World) -> None:
    first = signer(world)
    world.clock.advance(timedelta(days=30) - timedelta(seconds=1))
    assert signer(world) == first
    world.clock.advance(timedelta(seconds=1) + TOKEN_LIFE)
    await rotate_keys(world.ports)
    assert signer(world) != first
    assert first in await published(world)
    world.clock.advance(timedelta(hours=1))
    await rotate_keys(world.ports)
    assert first not in await published(world)
    assert first not in world.work.state.signing_keys


async def test_hastening_waits_until_everybody_knows_the_key(world: World) -> None:
    first = signer(world)
    assert await hasten_rotation(world.ports) == START + timedelta(hours=1)
    assert signer(world) == first
    world.clock.advance(timedelta(hours=1))
    await rotate_keys(world.ports)
    assert signer(world) != first
    world.clock.advance(timedelta(days=1))
    assert await hasten_rotation(world.ports) == world.clock.now()
    assert await hasten_rotation(world.ports) is None, "no key waits until the worker has made one"


async def test_after_a_long_sleep_a_key_signs_and_the_next_is_published_first(world: World) -> None:
    world.clock.advance(timedelta(days=400))
    await rotate_keys(world.ports)
    waiting = [key for key in await published_keys(world.ports) if key.sign_time > world.clock.now()]
    assert [key.sign_time - world.clock.now() for key in waiting] == [timedelta(hours=1)]
