"""The messages of the contracts: which ones requests are made of, and the rules that their fields carry."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.contract import PACKAGE, Contract

REQUIRED = 2  # google.api.FieldBehavior.REQUIRED
OUTPUT_ONLY = 3  # google.api.FieldBehavior.OUTPUT_ONLY
IGNORE_IF_ZERO_VALUE = 1  # buf.validate.Ignore.IGNORE_IF_ZERO_VALUE


def request_messages(contract: Contract) -> list[Descriptor]:
    """Every message of ours that a caller may send, itself or inside another, by name."""
    found: dict[str, Descriptor] = {}
    for method in contract.methods:
        _collect(method.descriptor.input_type, found)
    return [found[name] for name in sorted(found)]


def _collect(message: Descriptor, found: dict[str, Descriptor]) -> None:
    if message.full_name in found or not message.full_name.startswith(PACKAGE):
        return
    found[message.full_name] = message
    for field in message.fields:
        if field.message_type is not None:
            _collect(field.message_type, found)


class Rules:
    """What a contract says of one field beyond its type."""

    def __init__(self, contract: Contract, field: FieldDescriptor) -> None:
        options = field.GetOptions()
        self.field = field
        self.validate = contract.option(options, "buf.validate.field")
        self.behaviors = frozenset(contract.values(options, "google.api.field_behavior"))

    @property
    def required(self) -> bool:
        """Whether validation refuses a request without it."""
        return bool(self.validate is not None and self.validate.required)

    @property
    def zero_allowed(self) -> bool:
        """Whether the rules do not apply to an empty value."""
        return self.validate is not None and int(self.validate.ignore) == IGNORE_IF_ZERO_VALUE

    def of_type(self) -> dict[str, object]:
        """The rules of the field's own type, e.g. `{"max_len": 20}`; of the items too, for a list."""
        if self.validate is None:
            return {}
        kind = self.validate.WhichOneof("type")
        return dict(_set_fields(getattr(self.validate, kind))) if kind else {}


def _set_fields(rules: object) -> Iterator[tuple[str, object]]:
    for field, value in rules.ListFields():  # type: ignore[attr-defined]  # a message of a pool of its own
        yield field.name, value
