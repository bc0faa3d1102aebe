"""Gathers the third-party .proto files that ours import, from installed packages, into an ignored folder."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts.gen import CACHE

PROTOVALIDATE = "protovalidate==1.2.0"
PROTOVALIDATE_SHA256 = "4cb9a5065f32abc9baf2cf25c5bd09a139f7dffb7b8692f636a8e3e6883bb9a2"
VALIDATE_PROTO = "buf/validate/validate.proto"
GOOGLE_PROTOS = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)


class MissingProtosError(Exception):
    """A third-party .proto file could not be had."""


def gather() -> Path:
    """Fills .cache/protos where it is not full yet and returns it; only the first run needs the package registry."""
    for name in GOOGLE_PROTOS:
        _copy_from_wheel(name)
    if not (CACHE / VALIDATE_PROTO).exists():
        _unpack_validate_proto(_download_protovalidate())
    return CACHE


def well_known_types() -> Path:
    """The folder with google/protobuf/*.proto that grpcio-tools carries."""
    return _package_folder("grpc_tools") / "_proto"


def _copy_from_wheel(name: str) -> None:
    package, _, file_name = name.rpartition("/")
    source = _package_folder(package.replace("/", ".")) / file_name
    target = CACHE / name
    content = source.read_bytes()
    if not target.exists() or target.read_bytes() != content:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingProtosError(f"the package {package} is not installed: run `make up` or `make deps` first")
    return Path(next(iter(spec.submodule_search_locations)))


def _download_protovalidate() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", "protovalidate", "--dest", folder, PROTOVALIDATE]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        archives = list(Path(folder).glob("protovalidate-*.tar.gz"))
        if done.returncode != 0 or len(archives) != 1:
            raise MissingProtosError(f"{PROTOVALIDATE} could not be downloaded: {done.stderr.strip()}")
        content = archives[0].read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != PROTOVALIDATE_SHA256:
        raise MissingProtosError(f"{PROTOVALIDATE} has the SHA-256 {digest}, not the expected {PROTOVALIDATE_SHA256}")
    return content


def _unpack_validate_proto(archive: bytes) -> None:
    target = CACHE / VALIDATE_PROTO
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as file:
        file.write(archive)
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            member = next((name for name in tar.getnames() if name.endswith("/upstream/proto/" + VALIDATE_PROTO)), None)
            source = tar.extractfile(member) if member else None
            if source is None:
                raise MissingProtosError(f"{PROTOVALIDATE} does not contain {VALIDATE_PROTO}")
            with target.open("wb") as destination:
                shutil.copyfileobj(source, destination)
