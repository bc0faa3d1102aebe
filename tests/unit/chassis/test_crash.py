"""A crash point kills the process it is named in, and is nothing otherwise."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = "from services.chassis.crash import crash_point; crash_point('after_hold'); print('went on')"


@pytest.mark.parametrize("at", ["", "somewhere_else"])
def test_it_goes_on(at: str) -> None:
    ended = _run(at)
    assert (ended.returncode, ended.stdout) == (0, "went on\n")


def test_it_dies_where_it_is_told_to() -> None:
    ended = _run("after_hold")
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "")


def _run(at: str) -> subprocess.CompletedProcess[str]:
    environment = {"BERTH_CRASH_AT": at} if at else {}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
