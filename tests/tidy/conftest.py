"""A copy of the checkout in which faults can be planted."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.check import CHECKS, ROOT, Outcome, run

LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*_cache", "*.pyc")
FOLDERS = ("docs", "gateway", "generated", "infra", "protos", "requirements", "scripts", "services", "tests")
FILES = ("Makefile", "buf.yaml", "pyproject.toml")


class Copy:
    """A checkout of its own: what a test plants is taken back by its fixture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: dict[Path, str | None] = {}

    def write(self, name: str, text: str) -> None:
        """Writes a file."""
        path = self.root / name
        self._before.setdefault(path, path.read_text(encoding="utf-8") if path.exists() else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def replace(self, name: str, old: str, new: str) -> None:
        """Replaces the one occurrence of a text in a file."""
        text = (self.root / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name} holds the text {text.count(old)} times"
        self.write(name, text.replace(old, new))

    def check(self, name: str) -> Outcome:
        """Runs one of `make check`'s checks."""
        [check] = [check for check in CHECKS if check.name == name]
        return run(check, self.root)

    def restore(self) -> None:
        """Takes back everything that was written."""
        for path, text in self._before.items():
            if text is None:
                path.unlink()
            else:
                path.write_text(text, encoding="utf-8")
        self._before.clear()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """One copy for the whole run."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=LEFT_OUT)
    for file in FILES:
        shutil.copy(ROOT / file, root / file)
    # The third-party protos, so that no test needs the package registry.
    shutil.copytree(ROOT / ".cache" / "protos", root / ".cache" / "protos")
    return Copy(root)


@pytest.fixture
def copy(checkout: Copy) -> Iterator[Copy]:
    """The copy, as it was before."""
    yield checkout
    checkout.restore()
