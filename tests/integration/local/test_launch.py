"""What a program of the stack is started as."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import launch


@pytest.mark.parametrize("unprivileged", [False, True], ids=["as it is", "without root"])
def test_a_program_asks_the_kernel_for_long_slices(tmp_path: Path, *, unprivileged: bool) -> None:
    program = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0), os.getpgid(0) == os.getpid())"]
    command = launch.wrap(program, owns=tmp_path if unprivileged else None)
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [str(os.SCHED_BATCH), "True"]
