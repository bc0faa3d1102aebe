"""Owns reading a request's form-encoded parameters, and the errors for bad ones."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from infra.doubles.stripe.errors import invalid, missing_param

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_CHARACTERS = 40
MAX_METADATA_VALUE_CHARACTERS = 500
MAX_AMOUNT = 99_999_999

_PATH = re.compile(r"([^\[\]]+)|\[([^\[\]]*)\]")


def decode(encoded: str) -> dict[str, Any]:
    """Nested mappings and lists from `a[b]=1&list[]=x&rows[0][c]=2`."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        keys = [plain or bracket for plain, bracket in _PATH.findall(name)]
        if not keys:
            continue
        node = root
        for key in keys[:-1]:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise invalid(f"Invalid parameter: {name}", param=name)
            node = child
        last = keys[-1] or str(len(node))
        node[last] = value
    return {key: _with_lists(value) for key, value in root.items()}


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_with_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _with_lists(value) for key, value in node.items()}


class Params:
    """One request's parameters, read by type; what an operation does not know is refused, as the provider does."""

    def __init__(self, values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix
        for name in values:
            if name not in known:
                raise invalid(
                    f"Received unknown parameter: {self._full(name)}",
                    code="parameter_unknown",
                    param=self._full(name),
                )

    def _full(self, name: str) -> str:
        return f"{self._prefix}[{name}]" if self._prefix else name

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {value}", param=self._full(name))
        return value

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise missing_param(self._full(name))
        return value

    def integer(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise invalid(f"Invalid integer: {value}", code="parameter_invalid_integer", param=self._full(name))
        return int(value)

    def amount(self, name: str, *, least: int = 1) -> int | None:
        value = self.integer(name)
        if value is None:
            return None
        if value < least:
            raise invalid(
                "This value must be greater than or equal to 1.",
                code="parameter_invalid_integer",
                param=self._full(name),
            )
        if value > MAX_AMOUNT:
            raise invalid("Amount must be no more than $999,999.99", code="amount_too_large", param=self._full(name))
        return value

    def boolean(self, name: str) -> bool | None:
        value = self.text(name)
        if value is None:
            return None
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", param=self._full(name))
        return value == "true"

    def choice(self, name: str, options: Collection[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in options:
            raise invalid(
                f"Invalid {self._full(name)}: must be one of {', '.join(sorted(options))}", param=self._full(name)
            )
        return value

    def texts(self, name: str) -> list[str]:
        value = self._values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid("Invalid array", param=self._full(name))
        return value

    def group(self, name: str, known: Collection[str]) -> "Params | None":
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=self._full(name))
        return Params(value, known, self._full(name))

    def metadata(self, current: Mapping[str, str]) -> dict[str, str]:
        """The metadata after this request: keys are merged, an empty value removes one, an empty hash all."""
        if "metadata" not in self._values:
            return dict(current)
        given = self._values["metadata"]
        if given == "":
            return {}
        if isinstance(given, list):  # keys that happen to be numbers
            given = {str(position): value for position, value in enumerate(given)}
        merged = dict(current)
        for key, value in given.items() if isinstance(given, dict) else ():
            if len(key) > MAX_METADATA_KEY_CHARACTERS:
                raise invalid("Metadata keys can be up to 40 characters long.", param="metadata")
            if not isinstance(value, str) or len(value) > MAX_METADATA_VALUE_CHARACTERS:
                raise invalid("Metadata values can be up to 500 characters long.", param=f"metadata[{key}]")
            merged.pop(key, None)
            if value != "":
                merged[key] = value
        if len(merged) > MAX_METADATA_KEYS:
            raise invalid("Metadata can have up to 50 keys.", param="metadata")
        return merged
