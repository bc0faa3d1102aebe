"""`make new-service NAME=receipt`: a service with every room, one method, its tests, and its place in the mesh."""

from __future__ import annotations

import argparse
import keyword
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from string import Template

from infra.local.topology import Topology, read

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path("scripts/templates/new_service")
NAME = re.compile(r"[a-z][a-z0-9]{2,19}")
PORT_STEP = 10  # between two services, for their workers
TAKEN = frozenset({"chassis", "options", "type", "gateway", "operator", "auditor", "test"})
GREETED = re.compile(r"callers: \[(?P<names>[^\]]*)\]")

# Where each folder of templates goes.
PLACES = {
    "protos": "protos/berth/{name}/v1",
    "service": "services/{name}",
    "tests": "tests/{kind}/{name}",
}


class Refused(Exception):
    """The service cannot be made; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the service that the command line names."""
    parser = argparse.ArgumentParser(prog="new-service", description=__doc__)
    parser.add_argument("name", help="a noun in the singular, in small letters, e.g. receipt")
    name = parser.parse_args(arguments).name
    try:
        made = make(ROOT, name)
    except Refused as refused:
        print(f"{refused} (make new-service NAME=receipt)", file=sys.stderr)
        return 1
    subprocess.run([sys.executable, "-m", "scripts.gen"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", *_python(made)], cwd=ROOT, check=True)
    subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--quiet", "--select", "I", "--fix", *_python(made)],
        cwd=ROOT,
        check=True,
    )
    print("\n".join(path.relative_to(ROOT).as_posix() for path in made))
    print(
        f"\nThe service {name} is made. Next: `make check`, then `make up` (a running mesh: `make down` first).\n"
        f"protos/berth/{name}/v1/{name}_service.proto is where to go on: say what a {name} is. Its permission\n"
        f"`{name}s.read` is given to people by their roles, in services/auth/domain/roles.py."
    )
    return 0


def make(root: Path, name: str) -> list[Path]:
    """Write the service's files and enter it where services are listed; nothing is written when it is refused."""
    topology = read(root / "infra" / "topology.toml")
    _refuse(root, topology, name)
    values = {"name": name, "Name": name.capitalize(), "prefix": name[:3]}
    written = dict(_files(root, name, values)) | dict(_entries(root, topology, name))
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(written)


def _refuse(root: Path, topology: Topology, name: str) -> None:
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Refused("A service's name is one word of 3 to 20 small letters and digits.")
    if name in TAKEN or name in sys.stdlib_module_names:
        raise Refused(f"{name} means something else already.")
    places = [root / "services" / name, root / "protos" / "berth" / name]
    if name in topology.services or any(place.exists() for place in places):
        raise Refused(f"There is a service {name} already.")
    for contract in sorted((root / "protos").rglob("*.proto")):
        if f'"/api/v1/{name}s' in contract.read_text(encoding="utf-8"):
            raise Refused(f"{contract.relative_to(root)} has the path /api/v1/{name}s already.")


def _files(root: Path, name: str, values: dict[str, str]) -> Iterator[tuple[Path, str]]:
    """The service's own files."""
    for template in sorted((root / TEMPLATES).rglob("*.tmpl")):
        part, *inside = template.relative_to(root / TEMPLATES).parts
        kind = inside.pop(0) if part == "tests" else ""
        place = PLACES[part].format(name=name, kind=kind)
        inside[-1] = inside[-1].removesuffix(".tmpl").replace("NAME", name)
        if inside[-1] == "service.proto":
            inside[-1] = f"{name}_service.proto"
        yield root.joinpath(place, *inside), Template(template.read_text(encoding="utf-8")).substitute(values)


def _entries(root: Path, topology: Topology, name: str) -> Iterator[tuple[Path, str]]:
    """The files that list services, with this one."""
    last = list(topology.services)[-1]
    yield _changed(root / "infra" / "topology.toml", lambda text: _in_topology(text, topology, name))
    yield _changed(
        root / "pyproject.toml",
        lambda text: text.replace(f'"services.{last}"', f'"services.{last}", "services.{name}"'),
    )
    everybody = set(topology.services) - {"auth"}
    yield _changed(
        root / "protos" / "berth" / "auth" / "v1" / "tenant_service.proto",
        lambda text: GREETED.sub(lambda found: _with_caller(found, everybody, name), text),
    )


def _changed(path: Path, change: Callable[[str], str]) -> tuple[Path, str]:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after == before:
        raise Refused(f"{path.name} does not list services the way this command knows.")
    return path, after


def _in_topology(text: str, topology: Topology, name: str) -> str:
    port = max(service.port for service in topology.services.values()) + PORT_STEP
    metrics_port = max(service.metrics_port for service in topology.services.values()) + PORT_STEP
    called = ", ".join(f'"{service}"' for service in topology.gateway.calls)
    text = text.replace(f"calls = [{called}]", f'calls = [{called}, "{name}"]', 1)
    return (
        f"{text.rstrip()}\n\n[services.{name}]\nport = {port}\nmetrics_port = {metrics_port}\nworkers = 1\n"
        f'database = "{name}"\ncalls = ["auth"]\nconsumes = []\nsecrets = []\n'
    )


def _with_caller(found: re.Match[str], everybody: set[str], name: str) -> str:
    """What every service calls, this one calls too: for keys and tenants."""
    names = [part.strip().strip('"') for part in found["names"].split(",")]
    return found[0].replace("]", f', "{name}"]') if set(names) == everybody else found[0]


def _python(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths if path.suffix == ".py"]


if __name__ == "__main__":
    sys.exit(main())
