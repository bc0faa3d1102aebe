"""So many groups of calls are under way; who comes meanwhile enters together, and nobody is waited for too long."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from services.chassis import waves
from services.chassis.waves import Waves
from tests.unit.chassis.turns import settle


class Hall:
    """Callers that stay until told to go, and who entered in which turn."""

    def __init__(self) -> None:
        self.waves = Waves()
        self.entered: list[str] = []
        self._entries: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        for name in names:
            self._gates[name] = asyncio.Event()
            self._tasks[name] = asyncio.create_task(self._stay(name))
        await settle()

    async def go(self, *names: str) -> list[str]:
        """Have them leave; answers who entered then."""
        before = len(self.entered)
        for name in names:
            self._gates[name].set()
        await settle()
        return self.entered[before:]

    async def give_up(self, name: str) -> None:
        self._tasks[name].cancel()
        await settle()

    async def until_entered(self, name: str) -> None:
        await asyncio.wait_for(self._entries[name].wait(), 5)

    def outcome(self, name: str) -> BaseException | None:
        return self._tasks[name].exception()

    async def _stay(self, name: str) -> None:
        async with self.waves.passage():
            self.entered.append(name)
            self._entries[name].set()
            await self._gates[name].wait()
            if name.startswith("bad"):
                raise KeyError(name)
        if name == "last":
            self._tasks["c"].cancel()


@pytest.fixture(autouse=True)
def two_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two show all that three would."""
    monkeypatch.setattr(waves, "UNDER_WAY", 2)


async def test_who_comes_while_two_are_under_way_enters_with_the_others() -> None:
    hall = Hall()
    await hall.come("a", "b", "c", "d", "e")
    assert hall.entered == ["a", "b"]
    assert await hall.go("b") == ["c", "d", "e"]
    await hall.come("f")
    assert await hall.go("c", "d") == []
    assert await hall.go("e") == ["f"]


async def test_where_a_place_is_free_nobody_waits() -> None:
    hall = Hall()
    await hall.come("a", "b")
    await hall.go("a", "b")
    await hall.come("c", "d")
    assert hall.entered == ["a", "b", "c", "d"]


async def test_a_wave_takes_so_many_and_the_next_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "MOST", 2)
    hall = Hall()
    await hall.come("a", "b", "c", "d", "e", "f")
    assert await hall.go("a") == ["c", "d"]
    assert await hall.go("b") == ["e", "f"]


async def test_a_failure_leaves_as_any_other() -> None:
    hall = Hall()
    await hall.come("bad", "b", "c")
    assert await hall.go("bad") == ["c"]
    assert isinstance(hall.outcome("bad"), KeyError)


async def test_who_gave_up_is_not_let_in() -> None:
    hall = Hall()
    await hall.come("a", "b", "c", "d")
    await hall.give_up("c")
    await hall.come("e")
    assert await hall.go("a") == ["d", "e"]
    await hall.come("f")
    assert await hall.go("d", "e") == ["f"], "Whoever gave up is still counted."


async def test_nobody_left_to_let_in_frees_the_place() -> None:
    hall = Hall()
    await hall.come("a", "b", "c")
    await hall.give_up("c")
    await hall.go("a")
    await hall.come("d")
    assert hall.entered == ["a", "b", "d"]


async def test_who_gives_up_when_let_in_is_not_waited_for() -> None:
    hall = Hall()
    await hall.come("last", "b", "c", "d")
    assert await hall.go("last") == ["d"], "Cancelled between being let in and its next turn."
    await hall.come("e")
    assert await hall.go("d") == ["e"]


async def test_who_takes_too_long_is_waited_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "PATIENCE_SECONDS", 0.05)
    hall = Hall()
    await hall.come("a", "b", "c")
    await hall.until_entered("c")
    await hall.come("d")
    assert hall.entered == ["a", "b", "c", "d"], "Both were overtaken."
    # Both leave late, which frees no place twice.
    await hall.go("a", "b")
    await hall.come("e")
    assert "e" not in hall.entered
    assert await hall.go("c") == ["e"]
