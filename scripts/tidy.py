"""The rules of the house that no other tool knows: names, lengths, first lines, reasons, and every service's rooms."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = ("services", "gateway", "infra", "scripts", "tests")
LINES = 400
REFUSED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
TEXTS = {".py", ".proto", ".toml", ".md", ".yaml", ".yml", ".sh", ".html", ".js", ".css"}
# An ignore names its rule, and after it says why.
IGNORE = re.compile(r"#\s*(type:\s*ignore|noqa|pragma:\s*no\s*cover|buf:lint:ignore|mypy:)(?P<rest>[^\n]*)")
REASON = re.compile(r"^(\[[a-z, -]+\]|:\s*[A-Z0-9, ]+?|\s+[A-Z_]+)?\s*(#|-|–|:)\s*\S.{7,}")
# The one word that stands for unfinished work; written in two parts, so that this file may name it.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")


def faults(root: Path = ROOT) -> Iterator[str]:
    """Every breach in a checkout, as `path:line: what is wrong`."""
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        yield from _name_faults(name)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            yield from _python_faults(name, text)
        yield from _line_faults(name, text)
    yield from _makefile_faults(root / "Makefile")
    yield from _service_faults(root)


def _files(root: Path) -> Iterator[Path]:
    folders = [root / name for name in (*CODE, "protos", "docs")]
    inside = (path for folder in folders for path in sorted(folder.rglob("*")) if "__pycache__" not in path.parts)
    yield from (path for path in inside if path.is_file() and path.suffix in TEXTS)
    yield from (path for path in sorted(root.iterdir()) if path.is_file() and path.suffix in TEXTS)


def _name_faults(name: str) -> Iterator[str]:
    for part in Path(name).with_suffix("").parts:
        if part.lower() in REFUSED_NAMES:
            yield f"{name}:1: nothing is called {part}: name it after what it owns"


def _python_faults(name: str, text: str) -> Iterator[str]:
    if not text.strip():
        return  # a package that only marks its folder
    count = len(text.splitlines())
    if count > LINES:
        yield f"{name}:{LINES}: {count} lines are more than {LINES}: make a package of the same name"
    first = ast.parse(text).body[:1]
    docstring = first and isinstance(first[0], ast.Expr) and isinstance(first[0].value, ast.Constant)
    if not docstring or first[0].lineno != 1:
        yield f"{name}:1: the first line must be a docstring that says what the module owns"


def _line_faults(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{name}:{number}: unfinished work belongs into an issue"
        match = IGNORE.search(line)
        if match and name != "scripts/tidy.py" and not REASON.match(match["rest"]):
            yield f"{name}:{number}: an ignore names its rule and gives its reason after it"


def _makefile_faults(makefile: Path) -> Iterator[str]:
    if not makefile.exists():
        yield "Makefile:1: missing"
        return
    for number, line in enumerate(makefile.read_text(encoding="utf-8").splitlines(), start=1):
        target = re.match(r"([a-z][a-z0-9-]*):(?!=)", line)
        if target and "## " not in line:
            yield f"Makefile:{number}: the target {target[1]} has no help (`## what it does`)"


def _service_faults(root: Path) -> Iterator[str]:
    """Topology, folders and import rules name the same services, and each runs on the chassis."""
    named = set(tomllib.loads((root / "infra" / "topology.toml").read_text(encoding="utf-8"))["services"])
    folders = {path.parent.name for path in (root / "services").glob("*/__init__.py")} - {"chassis"}
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    [rooms] = [contract for contract in contracts if contract["id"] == "rooms"]
    ruled = {container.removeprefix("services.") for container in rooms["containers"]}
    for service in sorted(named | folders | ruled):
        if service not in named:
            yield f"infra/topology.toml:1: lacks the service {service}"
        if service not in ruled:
            yield f"pyproject.toml:1: the import rules lack the service {service}"
        if service not in folders:
            yield f"services/{service}:1: the topology names it, but there is no such package"
        else:
            yield from _main_faults(root, f"services/{service}/__main__.py")


def _main_faults(root: Path, name: str) -> Iterator[str]:
    path = root / name
    if not path.exists():
        yield f"{name}:1: a service has a composition root"
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    runs = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "services.chassis.service"
        for alias in node.names
        if alias.name == "run"
    }
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    if not runs & called:
        yield (
            f"{name}:1: the service is not run by services.chassis.service.run,"
            " so that it has no health, no drain and no policy"
        )


def main() -> int:
    """Prints every breach."""
    found = list(faults())
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
