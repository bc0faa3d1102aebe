"""After everything else: no secret and nobody's data in any log (I13), and nothing that the auditor would count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from tests.journey.audit import audited
from tests.journey.world.used import Used
from tests.journey.world.world import World
from tests.mesh import Mesh

# Six digits alone mean something in our own logs only; elsewhere they are process ids and ports.
OURS = ("auth", "inventory", "booking", "payment", "notification", "gateway", "mail")
SHORTEST = 6  # letters of a value that is looked for: shorter ones are words
_WORD = re.compile(r"[^\W\d_]{5}")  # what nobody would take for a name may stand anywhere


def secrets(mesh: Mesh) -> dict[str, str]:
    """What nobody but the mesh itself knows."""
    return {value: f"secret {name}" for name, value in mesh.secrets.items()}


def people(mesh: Mesh) -> dict[str, str]:
    """Everybody that ended up in a database, whoever put them there."""
    found: dict[str, str] = {}
    with psycopg.connect(mesh.superuser_url("auth")) as connection:
        for email, first, last, phone in connection.execute("SELECT email, first_name, last_name, phone FROM users"):
            found |= {email: "e-mail", phone: "phone"}
            names = {f"{first} {last}": "name", f'"{first}"': "first name", f'"{last}"': "last name"}
            found |= {name: what for name, what in names.items() if _WORD.search(name)}
    return found


def leaks(text: str, name: str, values: Mapping[str, str]) -> Iterator[str]:
    """What of the values stands in a log."""
    for value, what in values.items():
        if len(value) < SHORTEST:
            continue
        if re.fullmatch(r"\d{6}", value):
            if name in OURS and re.search(rf"(?<![\w.:-]){value}(?![\w.:-])", text):
                yield f"{name}.log: {what}"
        elif value in text:
            yield f"{name}.log: {what} {value[:12]}…"


def test_a_leak_would_be_found() -> None:
    said = '{"message": "mailed code 123456 to ada@mail.example", "ms": 654321}'
    values = {"123456": "otp", "ada@mail.example": "e-mail", "654320": "otp", "nobody@mail.example": "e-mail"}
    assert list(leaks(said, "auth", values)) == ["auth.log: otp", "auth.log: e-mail ada@mail.exa…"]
    assert list(leaks(said, "postgres", {"123456": "otp"})) == []


def test_no_log_holds_a_secret_or_anybodys_data(mesh: Mesh, world: World, used: Used) -> None:
    values = {**used.values, **secrets(mesh), **people(mesh)}
    kinds = set(values.values())
    assert {"e-mail", "password", "otp", "accessToken", "refreshToken", "clientSecret", "phone"} <= kinds
    logs = {path.stem: path for path in mesh.instance.logs.glob("*.log")}
    assert set(OURS) <= set(logs)
    found = [leak for name, path in logs.items() for leak in leaks(_read(path), name, values)]
    assert found == []
    print(  # noqa: T201 - a measure worth seeing
        f"\nI13: {len(values)} secrets and personal data looked for in {len(logs)} logs of"
        f" {sum(path.stat().st_size for path in logs.values()) / 1e6:.1f} MB"
    )


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.timeout(120)
def test_the_auditor_counts_nothing(mesh: Mesh, world: World) -> None:
    assert audited(mesh) == {}
