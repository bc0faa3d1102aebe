"""What a program of the stack is started as."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import launch

KERNEL = tuple(int(part) for part in os.uname().release.split(".")[:2])
KNOWS_SLICES = KERNEL >= (6, 12) and os.uname().machine == "x86_64"
SLICE = """
import ctypes, os, struct
told = ctypes.create_string_buffer(48)
ctypes.CDLL(None).syscall(315, 0, told, 48, 0)  # sched_getattr, as x86-64 numbers it
print(os.sched_getscheduler(0), int(os.getpgid(0) == os.getpid()), struct.unpack("=IIQiIQQQ", told.raw)[5])
"""
NICENESS = """
import os, pathlib
group = pathlib.Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text().split()[-1] if group.exists() else "none")
"""


@pytest.fixture(params=[False, True], ids=["as it is", "without root"])
def owns(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param else None


def told(program: str, owns: Path | None, *, background: bool = False) -> list[str]:
    command = launch.wrap([sys.executable, "-c", program], owns=owns, background=background)
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_program_asks_the_kernel_for_long_slices(owns: Path | None) -> None:
    policy, leads, nanoseconds = map(int, told(SLICE, owns))
    assert (policy, leads) == (os.SCHED_BATCH, 1)
    if KNOWS_SLICES:
        assert nanoseconds == launch.SLICE_NANOSECONDS


def test_what_nobody_waits_for_gives_way(owns: Path | None) -> None:
    own, of_group = told(NICENESS, owns, background=True)
    assert own == str(launch.BACKGROUND_NICENESS)
    assert of_group in {str(launch.BACKGROUND_NICENESS), "none"}
    own, of_group = told(NICENESS, owns)
    assert own == str(os.getpriority(os.PRIO_PROCESS, 0))
    assert of_group in {"0", "none"}
