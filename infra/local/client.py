"""What `make up`, `down`, `status` and `logs` do: they talk to the supervisor, and start it where there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra.local import control, launch, report
from infra.local.control import NotUpError
from infra.local.instance import Instance
from infra.local.part import State
from infra.local.topology import ROOT

Say = Callable[[str], None]
START_SECONDS = 300.0
_STOP_SECONDS = 90.0
_POLL_SECONDS = 0.2
_SILENCE_SECONDS = 5.0
# One part that died so often in a row will not come up by waiting longer.
_HOPELESS_DEATHS = 3


class StartError(RuntimeError):
    """The stack does not serve; the message says which part, and its last words."""


def start(
    instance: Instance, *, fresh: bool, environment: Mapping[str, str] | None = None, tied: bool = False
) -> subprocess.Popen[bytes]:
    """Starts a supervisor in a session of its own; it outlives us, unless it is tied to us."""
    instance.make()
    line = [sys.executable, "-m", "infra.local", "--directory", str(instance.directory), "supervise"]
    line += ["--fresh"] if fresh else []
    with instance.log("supervisor").open("wb") as log:
        return subprocess.Popen(
            launch.wrap(line, death_signal=signal.SIGTERM) if tied else line,
            cwd=ROOT,
            env={**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until_serving(
    instance: Instance, supervisor: subprocess.Popen[bytes] | None, say: Say, seconds: float = START_SECONDS
) -> dict[str, Any]:
    """Tells the progress until everything serves; StartError when it will not."""
    began, progress = time.monotonic(), _Progress(say)
    while time.monotonic() - began < seconds:
        if supervisor is not None and supervisor.poll() is not None:
            raise StartError(f"the supervisor ended:\n{_last_lines(instance.log('supervisor'))}")
        try:
            status = control.ask(instance.control, order="status")
        except NotUpError:
            status = None
        if status is not None:
            progress.tell(status, time.monotonic() - began)
            if status["serving"]:
                return status
            for name, part in status["parts"].items():
                if part["deaths"] >= _HOPELESS_DEATHS:
                    raise StartError(f"{name} does not start: {part['last_words']}\n(all of it: {part['log']})")
        time.sleep(_POLL_SECONDS)
    raise StartError(f"not everything serves after {seconds:g} s; `make status` shows what is missing")


def stop(instance: Instance, seconds: float = _STOP_SECONDS) -> bool:
    """Takes the stack down and waits until its supervisor has ended; False where none was up."""
    if not instance.is_held():
        return False
    deadline = time.monotonic() + seconds
    asked = False
    while instance.is_held():
        if not asked:
            try:
                control.ask(instance.control, order="down")
                asked = True
            except NotUpError:
                pass  # it holds the folder and does not listen yet
        if time.monotonic() > deadline:
            raise StartError(f"the supervisor did not end within {seconds:g} s; its log: {instance.log('supervisor')}")
        time.sleep(0.05)
    return True


def status(instance: Instance, form: str) -> str:
    """The stack as a table or as JSON."""
    shown = report.measured(control.ask(instance.control, order="status"))
    return json.dumps(shown, indent=1) if form == "json" else report.table(shown)


def follow(instance: Instance, part: str | None, say: Say) -> None:
    """Prints the logs' last lines and what is added, until interrupted."""
    logs = [instance.log(part)] if part else sorted(instance.logs.glob("*.log"))
    if not logs or not all(log.exists() for log in logs):
        names = ", ".join(sorted(log.stem for log in instance.logs.glob("*.log")))
        raise NotUpError(f"no log of {part}; there are: {names}" if part else "nothing has been up here yet")
    width = max(len(log.stem) for log in logs)
    read = {log: max(0, log.stat().st_size - 2000) for log in logs}
    while True:
        for log in logs:
            if log.stat().st_size < read[log]:
                read[log] = 0  # it was cut
            with log.open("rb") as file:
                file.seek(read[log])
                added = file.read()
            complete = added[: added.rfind(b"\n") + 1]
            read[log] += len(complete)
            for line in complete.decode(errors="replace").splitlines():
                say(line if part else f"{log.stem.ljust(width)} | {line}")
        time.sleep(0.3)


class _Progress:
    """Tells each part's steps once, and what is still missing when nothing has happened for a while."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._told: dict[str, tuple[str, str]] = {}
        self._last = 0.0

    def tell(self, status: dict[str, Any], elapsed: float) -> None:
        for name, part in status["parts"].items():
            state, reason = part["state"], part["reason"].splitlines()[0] if part["reason"] else ""
            worth_telling = state in {State.SERVING, State.DOWN, State.UNWELL} or (state == State.PREPARING and reason)
            # A counting reason is told by its first words only, every few seconds with its count.
            key = (state, reason.split(":")[0])
            if worth_telling and self._told.get(name) != key:
                self._told[name] = key
                self._line(elapsed, f"{name} {state}{f': {reason}' if reason else ''}")
        missing = [
            f"{name} ({part['state']}{': ' if part['reason'] else ''}{part['reason']})"
            for name, part in status["parts"].items()
            if part["state"] != State.SERVING
        ]
        if missing and elapsed - self._last > _SILENCE_SECONDS:
            self._line(elapsed, f"still missing: {'; '.join(missing)}")

    def _line(self, elapsed: float, text: str) -> None:
        self._last = elapsed
        self._say(f"{elapsed:6.1f} s  {text}")


def _last_lines(log: Path, count: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])
