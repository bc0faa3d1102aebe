"""Random histories of holds agree with the naive model, over zones, days when clocks change, and 29 February."""

from __future__ import annotations

from hypothesis import settings

from tests.ports.inventory.worlds import FakeWorld
from tests.unit.inventory.builders import NOW
from tests.unit.inventory.machine import HoldMachine


class MemoryMachine(HoldMachine):
    """The use cases and the domain, over memory."""

    def make_world(self) -> FakeWorld:
        """Memory."""
        return FakeWorld(NOW)


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(max_examples=60, stateful_step_count=30, print_blob=True)
