"""Makes the Python stubs: messages, gRPC stubs and their types, for our own protos and for buf.validate."""

import os
import subprocess
import sys
from pathlib import Path

from scripts.gen import PROTOS
from scripts.gen.third_party import VALIDATE_PROTO, gather, well_known_types


class ProtoError(Exception):
    """The protos do not compile; the text is protoc's."""


def own_protos() -> list[str]:
    """Our .proto files, relative to the proto root, in a fixed order."""
    return sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))


def protoc(*arguments: str) -> None:
    """Runs grpcio-tools' protoc over our proto root and the gathered third-party protos."""
    roots = [PROTOS, gather(), well_known_types()]
    command = [sys.executable, "-m", "grpc_tools.protoc", *(f"--proto_path={root}" for root in roots), *arguments]
    # The mypy plugins are looked up on the PATH; they lie beside the interpreter.
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    if done.returncode != 0:
        raise ProtoError(done.stderr.strip())


def write_stubs(into: Path) -> None:
    """Writes the stubs below `into`, which becomes a Python import root (`berth.*`, `buf.validate.*`)."""
    into.mkdir(parents=True, exist_ok=True)
    own = own_protos()
    protoc(f"--python_out={into}", f"--mypy_out=quiet:{into}", *own, VALIDATE_PROTO)
    with_services = [name for name in own if "\nservice " in (PROTOS / name).read_text(encoding="utf-8")]
    if with_services:
        protoc(f"--grpc_python_out={into}", f"--mypy_grpc_out=quiet:{into}", *with_services)
    _write_packages(into)


def _write_packages(into: Path) -> None:
    """Makes each folder a package, except `buf`, which other distributions may add to."""
    folders = {parent for path in into.rglob("*.py") for parent in path.relative_to(into).parents} - {Path()}
    for folder in folders - {Path("buf")}:
        name = folder.as_posix().replace("/", ".")
        (into / folder / "__init__.py").write_text(f'"""Generated: the Python stubs of {name}."""\n', encoding="utf-8")
