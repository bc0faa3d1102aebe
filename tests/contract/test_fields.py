"""Every field of a request says what it takes: required or not, and within which limits."""

import re
from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from gateway.contract import Contract
from gateway.messages import REQUIRED, Rules, request_messages

NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
}
NUMBER_LIMITS = {"gte", "gt", "lte", "lt", "in", "const"}
TEXT_LIMITS = {"max_len", "len", "max_bytes", "len_bytes", "in", "const", "uuid"}
# A repetition without an end, outside a character class.
ENDLESS = re.compile(r"(?<!\\)([*+]|\{\d+,\})")


def fields(contract: Contract) -> Iterator[tuple[str, Rules]]:
    """Every field of every request, by name."""
    for message in request_messages(contract):
        for field in message.fields:
            yield field.full_name, Rules(contract, field)


def test_there_are_requests(contract: Contract) -> None:
    assert len(request_messages(contract)) > 20


def test_required_is_said_and_enforced_alike(contract: Contract) -> None:
    unequal = [name for name, rules in fields(contract) if rules.required != (REQUIRED in rules.behaviors)]
    assert unequal == []


def test_every_text_list_number_and_enum_has_a_limit(contract: Contract) -> None:
    unlimited = [name for name, rules in fields(contract) if not _limited(rules)]
    assert unlimited == []


def test_money_is_never_a_number(contract: Contract) -> None:
    suspicious = [
        name
        for name, rules in fields(contract)
        if re.search("price|amount|fee|total", rules.field.name) and rules.field.cpp_type in NUMBERS
    ]
    assert suspicious == []


def test_nothing_is_a_binary_fraction(contract: Contract) -> None:
    fractions = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
    assert [name for name, rules in fields(contract) if rules.field.cpp_type in fractions] == []


def _limited(rules: Rules) -> bool:
    field, own = rules.field, rules.of_type()
    if field.is_repeated:
        limit = (
            "max_pairs" if field.message_type is not None and field.message_type.GetOptions().map_entry else "max_items"
        )
        return limit in own and (field.message_type is not None or _items_limited(own))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text_limited(own)
    if field.cpp_type in NUMBERS:
        return bool(own.keys() & NUMBER_LIMITS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return "defined_only" in own
    return True


def _items_limited(own: dict[str, object]) -> bool:
    items = own.get("items")
    kind = items.WhichOneof("type") if items is not None else None  # type: ignore[attr-defined]  # a dynamic message
    return kind is not None


def _text_limited(own: dict[str, object]) -> bool:
    if own.keys() & TEXT_LIMITS:
        return True
    pattern = re.sub(r"\[[^]]*\]", "", str(own.get("pattern", "")))
    return bool(pattern) and pattern.startswith("^") and pattern.endswith("$") and not ENDLESS.search(pattern)
