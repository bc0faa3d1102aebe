"""The dependency audit: known vulnerabilities where the database answers; licences, hashes and lock files always."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = (ROOT / "requirements" / "runtime.lock", ROOT / "requirements" / "dev.lock")
AUDIT_SECONDS = 60
# Licences that let an Apache-2.0 project use a package as a dependency, as words that occur in their names.
ACCEPTED = (
    "apache",
    "bsd",
    "mit",
    "mpl",
    "mozilla",
    "psf",
    "python software",
    "isc",
    "lgpl",
    "unlicense",
    "zlib",
    "0bsd",
)
# Packages whose metadata name no licence, with the licence that their source carries.
READ_BY_HAND: dict[str, str] = {}


def locked(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """The packages of a lock file: name to version and hashes."""
    packages: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;]+)", line):
            name = match[1]
            packages[name] = (match[2], [])
        packages.get(name, ("", []))[1].extend(re.findall(r"--hash=(sha256:[0-9a-f]{64})", line))
    return packages


def lock_faults() -> Iterator[str]:
    """What is wrong with the lock files themselves."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = {LOCKS[0]: project["project"]["dependencies"]}
    wanted[LOCKS[1]] = wanted[LOCKS[0]] + project["dependency-groups"]["dev"]
    for lock in LOCKS:
        packages = locked(lock)
        if "://" in lock.read_text(encoding="utf-8"):
            yield f"{lock.name}: names an address; it must hold names, versions and hashes alone"
        for name, (version, hashes) in packages.items():
            if not hashes:
                yield f"{lock.name}: {name}=={version} has no hash"
        for requirement in wanted[lock]:
            name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
            if re.sub(r"[-_.]+", "-", name).lower() not in packages:
                yield f"{lock.name}: lacks {name}, which pyproject.toml asks for; run `make lock`"


def licence_faults() -> Iterator[str]:
    """Runtime packages whose licence is not among the accepted ones."""
    for name in locked(LOCKS[0]):
        try:
            metadata = importlib.metadata.metadata(name).json
        except importlib.metadata.PackageNotFoundError:
            continue  # another platform's
        classifiers = [line for line in metadata.get("classifier", []) if line.startswith("License ::")]
        words = f"{metadata.get('license_expression', '')} {metadata.get('license', '')} {' '.join(classifiers)}"
        words = f"{words} {READ_BY_HAND.get(name, '')}".lower()
        if not any(re.search(rf"\b{licence}", words) for licence in ACCEPTED):
            yield f"{name}: its licence is not among the accepted ones: {words.strip()[:100] or 'none named'}"


def advisories() -> tuple[list[str], str]:
    """The known vulnerabilities of what production installs; and a note where the database did not answer."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--requirement", str(LOCKS[0]), "--disable-pip"]
    command += ["--require-hashes", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_SECONDS, check=False)
        answer = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError):
        return [], "note: the advisory database could not be reached: known vulnerabilities were NOT checked"
    found = [
        f"{package['name']}=={package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for package in answer
        for fault in package.get("vulns", [])
    ]
    unknown = sum("skip_reason" in package for package in answer)
    if unknown == len(answer):
        return found, "note: the advisory database could not be reached: known vulnerabilities were NOT checked"
    if unknown:
        return found, f"note: the advisory database knew nothing of {unknown} of {len(answer)} packages: NOT checked"
    return found, ""


def main() -> int:
    """Prints every fault; a database that cannot be reached is said, and is no fault of the project's."""
    vulnerabilities, note = advisories()
    faults = [*lock_faults(), *licence_faults(), *vulnerabilities]
    for line in [*faults, note]:
        if line:
            print(line)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
