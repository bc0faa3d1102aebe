"""Apache Kafka's jars: locked by coordinate and SHA-256 in kafka.lock, fetched by jgo into a cache outside git.

`python -m infra.local.kafka_jars` writes the lock anew, from ENDPOINT's dependency tree.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# 4.4.0 lacks an artifact at the registry. slf4j-simple is what makes Kafka's log appear at all.
ENDPOINT = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
LOCK = Path(__file__).with_name("kafka.lock")
_DOWNLOADS = 8
_TIMEOUT_SECONDS = 60


class JarsMissingError(RuntimeError):
    """The jars cannot be had: the registry is out of reach, or sent something else than what was locked."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked jar."""

    sha256: str
    group: str
    artifact: str
    version: str

    def path(self, cache: Path) -> Path:
        """Where the jar lies in the cache, laid out as Maven does."""
        return cache.joinpath(
            *self.group.split("."), self.artifact, self.version, f"{self.artifact}-{self.version}.jar"
        )


def cache_directory() -> Path:
    """$BERTH_CACHE, else berth's folder in the user's cache: shared by every clone on the machine."""
    named = os.environ.get("BERTH_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "berth"


def locked() -> tuple[Jar, ...]:
    """The jars of the committed lock."""
    return parse(LOCK.read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Jar, ...]:
    """Reads a lock: one `sha256 group:artifact:version` a line."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(Jar(sha256, *coordinate.split(":")) for sha256, coordinate in lines)


def fetch(cache: Path, jars: tuple[Jar, ...], tell: Callable[[str], None]) -> list[Path]:
    """The jars' paths, after fetching what is missing; `tell` hears the progress."""
    missing = [jar for jar in jars if not jar.path(cache).exists()]
    if missing:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside the jars, so that a checked one moves in by a rename; gone afterwards, whatever happened.
        with TemporaryDirectory(dir=cache, prefix="staging-") as staging, ThreadPoolExecutor(_DOWNLOADS) as pool:
            fetched = pool.map(lambda jar: _fetch(cache, Path(staging), jar), missing)
            for done, _ in enumerate(fetched, start=1):
                tell(f"fetching Kafka's jars, the first time only: {done} of {len(missing)}")
    return [jar.path(cache) for jar in jars]


def _fetch(cache: Path, staging: Path, jar: Jar) -> None:
    # Imported here: jgo is slow to import and needed once a machine.
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=staging, local_repos=[], timeout=_TIMEOUT_SECONDS)
    try:
        came = context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    except Exception as error:
        raise JarsMissingError(f"{jar.artifact} {jar.version} cannot be fetched: {error}") from error
    found = hashlib.sha256(came.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise JarsMissingError(f"{jar.artifact} {jar.version} came with SHA-256 {found}, locked is {jar.sha256}")
    target = jar.path(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    came.rename(target)


def write_lock() -> None:
    """Resolves ENDPOINT and locks what it leads to."""
    import jgo

    lines = [
        f"{hashlib.sha256(artifact.resolve().read_bytes()).hexdigest()}"
        f" {artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        for artifact in jgo.resolve(ENDPOINT)
    ]
    lines.sort(key=lambda line: line.split()[1])
    head = "# Apache Kafka and what it runs on, by coordinate. Made by `python -m infra.local.kafka_jars`.\n"
    LOCK.write_text(head + "".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    write_lock()
