"""`make gen`: makes everything under generated/ again; with --check it only tells what is stale."""

import argparse
import sys
import tempfile
from pathlib import Path

from gateway.contract import Contract, ContractError
from gateway.openapi.document import as_text, document
from scripts.gen import GENERATED
from scripts.gen.descriptors import descriptor_set, write_descriptor_set
from scripts.gen.released import write_image
from scripts.gen.stubs import ProtoError, write_stubs
from scripts.gen.third_party import MissingProtosError

# What a run owns as a whole, so that the output of a deleted proto goes too.
PARTS = ("python", "envoy", "openapi")


def generate(into: Path) -> None:
    """Makes the generated parts below `into`."""
    write_stubs(into / "python")
    write_descriptor_set(into / "envoy")
    # Reading the methods refuses what cannot be served: no policy, no deadline, an internal method with a REST path.
    contract = Contract(descriptor_set(with_comments=True))
    (into / "openapi").mkdir()
    (into / "openapi" / "berth.json").write_text(as_text(document(contract)), encoding="utf-8")


def differences(fresh: Path) -> list[str]:
    """The files, relative to generated/, that are missing, stale or no longer generated, compared with `fresh`."""
    expected, present = _files(fresh), _files(GENERATED)
    return sorted(name for name in expected.keys() | present.keys() if expected.get(name) != present.get(name))


def replace(fresh: Path) -> list[str]:
    """Brings generated/ to the state of `fresh`, touching only what differs, and returns what it touched."""
    changed = differences(fresh)
    for name in changed:
        source, target = fresh / name, GENERATED / name
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        else:
            target.unlink()
    return changed


def _files(root: Path) -> dict[str, bytes]:
    paths = (path for part in PARTS for path in (root / part).rglob("*") if "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def main() -> int:
    """Replaces the parts of generated/ by what the protos say now, or tells the difference."""
    parser = argparse.ArgumentParser(prog="gen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail and name what is stale")
    parser.add_argument("--release", action="store_true", help="make these contracts the released ones, for good")
    arguments = parser.parse_args()
    if arguments.release:
        write_image()
    with tempfile.TemporaryDirectory() as folder:
        try:
            generate(Path(folder))
        except (ContractError, ProtoError, MissingProtosError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        if arguments.check:
            stale = differences(Path(folder))
            sys.stdout.writelines(f"generated/{name} is stale: run `make gen`\n" for name in stale)
            return 1 if stale else 0
        sys.stdout.writelines(f"generated/{name}\n" for name in replace(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
