"""Every secret and personal datum that the tests use, so that it can be looked for where it must not be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Fields of answers that nobody but their reader may see.
SECRET_FIELDS = frozenset({"accessToken", "refreshToken", "clientSecret", "otp"})


@dataclass(slots=True)
class Used:
    """Values by what they are."""

    values: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, value: str) -> str:
        """Remembers a value, and answers it."""
        if value:
            self.values[value] = what
        return value

    def learn(self, body: Any) -> None:
        """Remembers the secrets in an answer."""
        for name, value in _leaves(body):
            if name in SECRET_FIELDS and isinstance(value, str):
                self.add(name, value)


def _leaves(body: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(body, Mapping):
        for key, value in body.items():
            yield from _leaves(value, key)
    elif isinstance(body, list):
        for value in body:
            yield from _leaves(value, name)
    else:
        yield name, body
