"""Random histories of holds agree with the naive model on real PostgreSQL, counters and claims included."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.databases import Urls
from tests.ports.inventory.worlds import RealWorld
from tests.unit.inventory.machine import HoldMachine


def test_random_histories(new_database: Callable[[str], Urls]) -> None:
    urls = new_database("inventory")

    class DatabaseMachine(HoldMachine):
        """The whole way down; each history is a tenant of its own."""

        real: RealWorld | None = None

        def make_world(self) -> RealWorld:
            """PostgreSQL."""
            self.real = RealWorld(urls)
            self.run(self.real.open())
            return self.real

        async def leave(self) -> None:
            """Disconnect."""
            if self.real is not None:
                await self.real.close()

    run_state_machine_as_test(
        DatabaseMachine,
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
