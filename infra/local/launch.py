"""Turns itself into another program that cannot outlive its supervisor, and that runs without root where it must."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_NOBODY = 65534
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # the C library has no name for it
SLICE_NANOSECONDS = 5_000_000  # the usual one is below 2 ms
BACKGROUND_NICENESS = 10
_AUTOGROUP = Path("/proc/self/autogroup")


def wrap(
    command: Sequence[str],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    owns: Path | None = None,
    background: bool = False,
) -> list[str]:
    """The command as its parent should start it.

    `death_signal` is what the program gets when its parent dies, however it dies. `owns` names the directory of a
    program that refuses to run as root (PostgreSQL): where we are root, it runs as nobody, and the directory is its.
    What is in the `background` gives way to what somebody waits for.
    """
    # -I -S: a small interpreter for a few milliseconds; this file imports nothing but the standard library.
    line = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), "--parent", str(os.getpid())]
    line += ["--death-signal", str(int(death_signal))]
    if owns is not None and os.geteuid() == 0:
        line += ["--owns", str(owns)]
    if background:
        line.append("--background")
    return [*line, "--", *command]


def main(arguments: Sequence[str]) -> None:
    """Entry: leads a group of its own, drops root where asked, arms the death signal, becomes the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, required=True)
    parser.add_argument("--owns", type=Path)
    parser.add_argument("--background", action="store_true")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if os.getpgid(0) != os.getpid():
        os.setsid()
    if options.background:
        give_way()
    if options.owns is not None:
        _become_nobody(options.owns)
    _ask_for_long_slices()
    # Last, because a change of user clears it. The parent may have died before it was armed: then nobody waits for us.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, options.death_signal, 0, 0, 0)
    if os.getppid() != options.parent:
        sys.exit("launch: the parent is gone")
    try:
        os.execv(options.command[0], options.command)  # noqa: S606 - becoming the program is this file's purpose
    except OSError as error:
        sys.exit(f"launch: {options.command[0]}: {error.strerror}. Is the folder closed to other users?")


def give_way() -> None:
    """Leaves the processor to others, with all that this process starts; for the leader of a session."""
    os.setpriority(os.PRIO_PROCESS, 0, BACKGROUND_NICENESS)
    # Where the kernel makes each session a group of its own, the group's niceness counts and not its programs'. It
    # takes one such wish in a tenth of a second; without groups there is no such file.
    for _ in range(20):
        try:
            _AUTOGROUP.write_text(str(BACKGROUND_NICENESS))
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            return
        else:
            return


def _ask_for_long_slices() -> None:
    """Many programs share few cores here: each should finish what it has in hand before another cools its caches.

    They do not pre-empt each other on waking, and what waits in the meantime goes together. Kernels that do not know
    the length of a slice (before 6.12) leave it out.
    """
    number = _SCHED_SETATTR.get(os.uname().machine)
    if number is not None:
        attributes = struct.pack(
            "=IIQiIQQQ", 48, os.SCHED_BATCH, 0, os.getpriority(os.PRIO_PROCESS, 0), 0, SLICE_NANOSECONDS, 0, 0
        )
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)


def _become_nobody(directory: Path) -> None:
    """In a user namespace root's own files look like nobody's: nothing changes owner, and no path needs opening."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1")
        return
    # No namespaces here (some containers forbid them): a real change of user, and the directory changes hands.
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)


if __name__ == "__main__":
    main(sys.argv[1:])
