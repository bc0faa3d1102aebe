"""Makes the virtual environment from the lock file, every package checked by its hash.

Runs on the system's own Python, before any package is there: nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = (3, 11)
# Programs that a newer distribution may carry beside an older python3.
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")


def main(directory: Path, lock: Path) -> None:
    """Entry: the folder to make and the lock to fill it from."""
    if sys.version_info < LEAST:
        _try_a_newer_python()
    python = directory / "bin" / "python"
    if not _works(python):
        _make(directory)
    uv = directory / "bin" / "uv"
    if not uv.exists():
        print("installing uv, which installs the rest in seconds", flush=True)
        _install_uv(python, lock)
    print(f"installing the packages of {lock}", flush=True)
    done = subprocess.run(
        [str(uv), "pip", "sync", "--quiet", "--require-hashes", "--python", str(python), str(lock)], check=False
    )
    if done.returncode != 0:
        sys.exit("The packages could not be installed: is a package registry within reach?")
    for stale in directory.glob("installed-*"):
        stale.unlink()


def pinned(lock: str, name: str) -> str:
    """One package's lines of a lock: its version and its hashes."""
    found = re.search(rf"^{re.escape(name)}==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    if found is None:
        raise ValueError(f"{name} is not in the lock")
    return found.group()


def _works(python: Path) -> bool:
    # A moved checkout or an upgraded system leaves an environment whose Python no longer starts.
    return python.exists() and subprocess.run([str(python), "-c", ""], check=False, capture_output=True).returncode == 0


def _make(directory: Path) -> None:
    print(f"making {directory}", flush=True)
    clear = ["--clear"] if directory.exists() else []
    if (
        subprocess.run(
            [sys.executable, "-m", "venv", *clear, str(directory)], check=False, capture_output=True
        ).returncode
        == 0
    ):
        return
    # Debian keeps ensurepip in a package of its own; the system's pip, where there is one, can stand in for it.
    bare = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(directory)]
    if subprocess.run(bare, check=False, capture_output=True).returncode != 0 or not _has_pip(sys.executable):
        sys.exit("Python cannot make virtual environments here. On Debian: apt install python3-venv")


def _has_pip(python: str) -> bool:
    return subprocess.run([python, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0


def _install_uv(python: Path, lock: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(pinned(lock.read_text(encoding="utf-8"), "uv"))
        requirement.flush()
        pip = [str(python), "-m", "pip"]
        if not _has_pip(str(python)):
            pip = [sys.executable, "-m", "pip", "--python", str(python)]
        line = [*pip, "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", requirement.name]
        if subprocess.run(line, check=False).returncode != 0:
            sys.exit("uv could not be installed: is a package registry within reach?")


def _try_a_newer_python() -> None:
    for name in NEWER:
        found = shutil.which(name)
        if found:
            os.execv(found, [found, *sys.argv])  # noqa: S606 - the same program again, on a Python that can run it
    sys.exit(f"Berth needs Python 3.11 or newer; this is {sys.version_info[0]}.{sys.version_info[1]}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
