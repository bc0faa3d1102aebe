"""The image of the contracts as last released: what `buf breaking` compares with, and old stubs are built from."""

import subprocess
import sys
from pathlib import Path

from scripts.gen import GENERATED, PROTOS, ROOT
from scripts.gen.third_party import gather

IMAGE = GENERATED / "released.binpb"


def write_image() -> None:
    """Makes the contracts of this checkout the released ones; part of making a release, never of `make gen`."""
    gather()
    buf = Path(sys.executable).parent / "buf"
    subprocess.run(
        [str(buf), "build", PROTOS.name, "--exclude-source-info", "--output", str(IMAGE)],
        cwd=ROOT,
        check=True,
        timeout=60,
    )
