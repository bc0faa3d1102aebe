"""Keeps one part going: waits, prepares, starts, watches, and starts again what died, with its last words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from infra.local.part import Part, State, backoff, ended

_STARTING_INTERVAL = 0.15
_SERVING_INTERVAL = 2.0
# A part that served this long has proved itself: its next death is the first again.
_PROVEN_SECONDS = 30.0
# One refused check may be a busy moment; so many in a row are not.
_UNWELL_AFTER = 2
_LAST_LINES = 6
_LINE_LENGTH = 300
LOG_BYTES = 50 * 1024 * 1024


class Keeper:
    """One part's life; `keep` runs until `stop` has been ordered for good."""

    def __init__(self, part: Part, others: Mapping[str, Keeper], announce: Callable[[str], None]) -> None:
        self.part = part
        self.state, self.reason = State.WAITING, ""
        self.deaths, self.restarts = 0, 0
        self.last_words = ""
        self.has_served = asyncio.Event()
        self._others, self._announce = others, announce
        self._process: asyncio.subprocess.Process | None = None
        self._ended_by_order: asyncio.subprocess.Process | None = None
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._wanted.set()
        self._prepared = False
        self._lasting: dict[str, str] = {}
        self._once: dict[str, str] = {}
        self._changed = time.time()
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The process, where there is one now."""
        return self._process.pid if self._process is not None else None

    def as_json(self) -> dict[str, Any]:
        """The part as `status` shows it."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "url": self.part.url(),
            "pid": self.pid,
            "outside": self.part.run is None,
            "since": self._changed,
            "deaths": self.deaths,
            "restarts": self.restarts,
            "last_words": self.last_words,
            "log": str(self.part.log) if self.part.log else None,
        }

    async def keep(self) -> None:
        """Lives the part's life until cancelled."""
        while True:
            try:
                await self._live()
            except Exception as error:  # noqa: BLE001 - whatever went wrong with one part, the rest must be kept going
                self._die(f"{type(error).__name__}: {error}")
            if not self._wanted.is_set():
                self._enter(State.STOPPED, "by order")
                await self._wanted.wait()
            elif self.state is State.DOWN:
                await self._pause()

    async def stop(self) -> None:
        """Ends the process, politely first, and keeps it down until `start`."""
        self._wanted.clear()
        self._unwanted.set()
        process = self._process
        if process is None:
            return
        self._ended_by_order = process
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.part.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self.part.stop_seconds)
        except TimeoutError:
            self._announce(f"{self.part.name} did not end within {self.part.stop_seconds:g} s: killed")
            _kill_group(process.pid)
            await process.wait()
        _kill_group(process.pid)

    def start(self, environment: Mapping[str, str] | None = None, *, lasting: bool = False) -> None:
        """Wants the part up again; the extra environment counts for the next process only, or for all that follow."""
        if lasting:
            self._lasting = dict(environment or {})
        else:
            self._once = dict(environment or {})
        self.deaths = 0
        self._unwanted.clear()
        self._wanted.set()

    async def _live(self) -> None:
        await self._wait_for(self.part.prepare_after)
        if self.part.prepare is not None and (self.part.prepare_always or not self._prepared):
            self._enter(State.PREPARING, "")
            await self.part.prepare(lambda text: self._enter(State.PREPARING, text))
        self._prepared = True
        await self._wait_for(self.part.after)
        if not self._wanted.is_set():
            return
        if self.part.run is None:
            self._enter(State.STARTING, "an outside part")
            await self._watch(None)
            return
        self._process = process = await self._spawn()
        if not self._wanted.is_set():  # the order came while it was being started
            self._ended_by_order = process
            process.send_signal(self.part.stop_signal)
        self._enter(State.STARTING, "started")
        watch = asyncio.create_task(self._watch(process))
        try:
            code = await process.wait()
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        _kill_group(process.pid)  # whatever it left behind goes with it
        self._process = None
        if self._ended_by_order is not process:
            self._die(ended(code), self._tail())

    async def _wait_for(self, names: tuple[str, ...]) -> None:
        for name in names:
            missing = [other for other in names if not self._others[other].has_served.is_set()]
            if missing:
                self._enter(State.WAITING, f"for {', '.join(missing)}")
            await self._others[name].has_served.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        if self.part.run is None or self.part.log is None:
            raise RuntimeError(f"{self.part.name} has nothing to start")
        run = self.part.run()
        environment = {**run.environment, **self._lasting, **self._once}
        self._once = {}
        with self.part.log.open("ab") as log:
            self._log_start = log.tell()
            return await asyncio.create_subprocess_exec(
                *run.command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def _watch(self, process: asyncio.subprocess.Process | None) -> None:
        """Asks the part again and again whether it serves."""
        refusals, serving_since = 0, 0.0
        while process is None or process.returncode is None:
            reason = await _refusal(self.part.refusal)
            if reason is None:
                await self._serves()
                refusals, serving_since = 0, serving_since or time.monotonic()
                if time.monotonic() - serving_since > _PROVEN_SECONDS:
                    self.deaths = 0
            else:
                refusals += 1
                if self.state is State.STARTING:
                    self._enter(State.STARTING, reason)
                elif refusals >= _UNWELL_AFTER:
                    self._enter(State.UNWELL, reason)
            self._trim_log()
            await asyncio.sleep(_SERVING_INTERVAL if self.state is State.SERVING else _STARTING_INTERVAL)

    async def _serves(self) -> None:
        if not self.has_served.is_set() and self.part.settle is not None:
            self._enter(State.PREPARING, "")
            await self._settle(self.part.settle)
        self._enter(State.SERVING, "")
        self.has_served.set()

    async def _settle(self, settle: Callable[[Callable[[str], None]], Awaitable[None]]) -> None:
        attempts = 0
        while True:
            try:
                await settle(lambda text: self._enter(State.PREPARING, text))
            except Exception as error:  # noqa: BLE001 - said, and tried again: the part itself serves
                attempts += 1
                self._enter(State.PREPARING, f"{type(error).__name__}: {error}")
                await asyncio.sleep(backoff(attempts))
            else:
                return

    def _enter(self, state: State, reason: str) -> None:
        if state is not self.state:
            self._changed = time.time()
            if state in {State.SERVING, State.UNWELL} or self.state is State.UNWELL:
                self._announce(f"{self.part.name} is {state.value}{': ' if reason else ''}{reason}")
        self.state, self.reason = state, reason

    def _die(self, how: str, last_lines: str = "") -> None:
        self.deaths += 1
        self.restarts += 1
        self.last_words = f"{how}\n{last_lines}".strip()
        pause = backoff(self.deaths)
        self._enter(State.DOWN, f"{how}; starts again in {pause:g} s")
        indented = "".join(f"\n    {line}" for line in last_lines.splitlines())
        self._announce(f"{self.part.name} died: {how}; starts again in {pause:g} s{indented}")

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unwanted.wait(), backoff(self.deaths))

    def _tail(self) -> str:
        if self.part.log is None or not self.part.log.exists():
            return ""
        with self.part.log.open("rb") as log:
            log.seek(max(self._log_start, self.part.log.stat().st_size - 16_384))
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(line[:_LINE_LENGTH] for line in lines[-_LAST_LINES:])

    def _trim_log(self) -> None:
        """Keeps a log that runs for weeks from filling the disk; the process appends, so cutting it is safe."""
        log = self.part.log
        if log is not None and log.exists() and log.stat().st_size > LOG_BYTES:
            os.truncate(log, 0)
            self._log_start = 0


async def _refusal(check: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        return await check()
    except Exception as error:  # noqa: BLE001 - a check that cannot be made is a reason like any other
        return f"{type(error).__name__}: {error}"


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
