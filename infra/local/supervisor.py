"""The process that stays: keeps every part of one stack, answers on its socket, and takes all of them with it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import signal
from collections.abc import Iterable
from typing import Any

from infra.local import control, parts, pki, ports, stack, topology
from infra.local.instance import Instance
from infra.local.keeper import Keeper
from infra.local.part import Part, State
from infra.local.settings import Settings
from infra.local.stack import Stack

_LOG_KEPT_BYTES = 10 * 1024 * 1024


class Supervisor:
    """One stack, running."""

    def __init__(self, planned: Stack) -> None:
        self._stack = planned
        self._stop = asyncio.Event()
        self._notes: list[str] = []
        plan = parts.plan(planned, self._note)
        self._notes += plan.notes
        self._keepers: dict[str, Keeper] = {}
        for part in plan.parts:
            self._keepers[part.name] = Keeper(part, self._keepers, announce)
        wished = stack.wishes(planned.topology, planned.settings)
        self._moved = {
            name: [port, planned.ports[name]] for name, port in wished.items() if port != planned.ports[name]
        }

    async def run(self) -> None:
        """Runs until SIGTERM, SIGINT or the order `down`; nothing of the stack is left afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        async with control.serving(self._stack.instance.control, self._answer):
            lives = [asyncio.create_task(keeper.keep()) for keeper in self._keepers.values()]
            announce(f"supervisor {os.getpid()} keeps {', '.join(self._keepers)}")
            await self._stop.wait()
            announce("stopping")
            for wave in waves([keeper.part for keeper in self._keepers.values()]):
                await asyncio.gather(*(self._keepers[name].stop() for name in wave))
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
        announce("stopped")

    def status(self) -> dict[str, Any]:
        """What `status` shows, before memory and CPU are added by the asker."""
        shown = {name: keeper.as_json() for name, keeper in self._keepers.items()}
        return {
            "serving": all(keeper.state is State.SERVING for keeper in self._keepers.values()),
            "directory": str(self._stack.instance.directory),
            "supervisor": {"pid": os.getpid()},
            "gateway": {"url": self._stack.gateway_url, "admin_url": self._stack.admin_url},
            "mail": {"url": self._stack.mail_url},
            "stripe": {"url": self._stack.stripe_url, "publishable_key": self._stack.stripe_publishable_key},
            "ports": dict(self._stack.ports),
            "moved": self._moved,
            "notes": self._notes,
            "parts": shown,
        }

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("order"):
            case "status":
                return self.status()
            case "down":
                self._stop.set()
                return {}
            case "stop" | "start" | "restart" as order:
                return await self._order(order, request)
            case unknown:
                raise ValueError(f"no such order: {unknown}")

    async def _order(self, order: str, request: dict[str, Any]) -> dict[str, Any]:
        keeper = self._keepers.get(str(request.get("part")))
        if keeper is None:
            raise ValueError(f"no such part: {request.get('part')}; there are {', '.join(self._keepers)}")
        if order in {"stop", "restart"}:
            await keeper.stop()
            announce(f"{keeper.part.name} stopped by order")
        if order in {"start", "restart"}:
            keeper.start(request.get("env"), lasting=bool(request.get("lasting")))
        return keeper.as_json()

    def _note(self, text: str) -> None:
        self._notes.append(text)
        announce(f"NOTE: {text}")


def waves(every: Iterable[Part]) -> list[list[str]]:
    """The order of stopping: first what nobody needs, then what only those needed, and so on."""
    left = {part.name: {*part.after, *part.prepare_after} for part in every}
    order: list[list[str]] = []
    while left:
        needed = set().union(*left.values())
        wave = [name for name in left if name not in needed] or list(left)
        order.append(wave)
        for name in wave:
            del left[name]
    return order


def supervise(instance: Instance, settings: Settings, *, fresh: bool) -> None:
    """Entry of the supervisor's process: holds the folder, decides ports and secrets, keeps the stack until told."""
    instance.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = instance.hold()
    if fresh:
        instance.empty()
    instance.make()
    mesh = topology.read()
    for log in instance.logs.glob("*.log"):
        # The last run's words stay readable; what is older than a few of them goes.
        if log.name != "supervisor.log" and log.stat().st_size > _LOG_KEPT_BYTES:
            log.unlink()
    pki.ensure(instance.tls, [*mesh.services, pki.GATEWAY, pki.OPERATOR], dt.datetime.now(dt.UTC))
    instance.data("jwks").mkdir(exist_ok=True)
    planned = Stack(
        topology=mesh,
        settings=settings,
        instance=instance,
        ports=ports.claim(stack.wishes(mesh, settings)),
        secrets=instance.secrets(mesh, os.environ),
        environment=dict(os.environ),
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(planned))
    os.close(held)


async def _run(planned: Stack) -> None:
    await Supervisor(planned).run()
    # A thread may still fetch or format: nobody waits for it, and what it started dies with this process.
    os._exit(0)


def announce(text: str) -> None:
    """One line in the supervisor's log."""
    print(f"{dt.datetime.now(dt.UTC).isoformat(timespec='milliseconds')} {text}", flush=True)
