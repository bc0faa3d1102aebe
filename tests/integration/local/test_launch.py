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
TELL = """
import ctypes, os, struct
told = ctypes.create_string_buffer(48)
ctypes.CDLL(None).syscall(315, 0, told, 48, 0)  # sched_getattr, as x86-64 numbers it
print(os.sched_getscheduler(0), int(os.getpgid(0) == os.getpid()), struct.unpack("=IIQiIQQQ", told.raw)[5])
"""


@pytest.mark.parametrize("unprivileged", [False, True], ids=["as it is", "without root"])
def test_a_program_asks_the_kernel_for_long_slices(tmp_path: Path, *, unprivileged: bool) -> None:
    command = launch.wrap([sys.executable, "-c", TELL], owns=tmp_path if unprivileged else None)
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    policy, leads, nanoseconds = (int(word) for word in answer.stdout.split())
    assert (policy, leads) == (os.SCHED_BATCH, 1)
    if KNOWS_SLICES:
        assert nanoseconds == launch.SLICE_NANOSECONDS


@pytest.mark.parametrize("unprivileged", [False, True], ids=["as it is", "without root"])
def test_what_nobody_waits_for_gives_way(tmp_path: Path, *, unprivileged: bool) -> None:
    tell = "import os, pathlib; group = pathlib.Path('/proc/self/autogroup'); print(os.getpriority(os.PRIO_PROCESS, 0))"
    tell += "; print(group.read_text().split()[-1] if group.exists() else 'none')"
    ours, theirs = (
        subprocess.run(
            launch.wrap([sys.executable, "-c", tell], owns=tmp_path if unprivileged else None, background=background),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for background in (True, False)
    )
    assert ours[0] == str(launch.BACKGROUND_NICENESS)
    assert ours[1] in {str(launch.BACKGROUND_NICENESS), "none"}
    assert theirs[0] == str(os.getpriority(os.PRIO_PROCESS, 0))
    assert theirs[1] in {"0", "none"}
