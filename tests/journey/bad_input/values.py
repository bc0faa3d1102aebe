"""Values that a field of each type should not, or only just, have; and requests that are good but for one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

Path = tuple[str | int, ...]
Values = tuple[Any, ...]

DEEPEST = 3  # messages inside messages
TEXTS = (
    "",
    " ",
    "\x00",
    "x" * 10_000,
    "\u202eمرحبا\u202c",  # right to left, with the mark that turns what follows
    "a\r\nBcc: everybody@mail.example",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "=cmd|' /C calc'!A0",
    "'; DROP TABLE bookings;--",
    "../../etc/passwd",
    "\ufeff\u2028\U0001f6a2",
    "%00%0d%0a",
    "null",
)
# Only JSON can say these: gRPC's own types have no room for them.
NO_TEXTS: Values = (5, True, None, ["a"], {"a": 1}, "\ud800")
NUMBERS = (-1, 0, 1_000_000_000, 2**31 - 1, -(2**31))
NO_NUMBERS: Values = (2**31, 10**30, 1.5, "abc", "", "1e2", True, None, [1], {})
NO_BOOLEANS: Values = ("yes", 2, "TRUE", [True], {})
NO_ENUMS: Values = ("NOPE", "confirmed", "", 99, -1, 1.5, True, [1], {})
NO_MESSAGES: Values = ("text", 5, True, [], [{}], None)
NO_LISTS: Values = ("text", 5, {}, [None], [[]], [5], [{}] * 500)
NO_INSTANTS: Values = (
    "2027-03-01T10:00:00",  # without a zone
    "2027-03-01",
    "2027-02-30T10:00:00Z",
    "2027-02-29T10:00:00Z",
    "2027-03-01T25:00:00Z",
    "+10000-01-01T00:00:00Z",
    "0000-12-31T23:59:59Z",
    "yesterday",
    "",
    1_800_000_000,
    {},
)
INSTANTS = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2024-02-29T10:00:00+05:45")
NO_DURATIONS: Values = ("1h", "5", "-", "abc", "", 5, "999999999999999999s", {})
DURATIONS = ("-5s", "0s", "0.000000001s", "315576000000s")
NO_MASKS: Values = (
    "nope",
    "etag",
    "a..b",
    "*",
    "resourceId",
    "updateMask",
    "price.unitPrice.nope",
    "display_name",
    5,
    [],
    {},
)
MONIES: Values = (
    {"currencyCode": "GBP", "amount": "-1.00"},
    {"currencyCode": "GBP", "amount": "0.00"},
    {"currencyCode": "GBP", "amount": "1.005"},
    {"currencyCode": "GBP", "amount": "1e3"},
    {"currencyCode": "GBP", "amount": "1,00"},
    {"currencyCode": "GBP", "amount": "NaN"},
    {"currencyCode": "GBP", "amount": ""},
    {"currencyCode": "GBP", "amount": "٣.٠٠"},
    {"currencyCode": "GBP", "amount": "99999999999999999999.00"},
    {"currencyCode": "GBP", "amount": "92233720368547758.08"},  # one more than 64 bits of pennies
    {"currencyCode": "JPY", "amount": "1.50"},
    {"currencyCode": "XTS", "amount": "1.00"},
    {"currencyCode": "gbp", "amount": "1.00"},
    {"currencyCode": "EUR", "amount": "1.00"},
    {"currencyCode": "GBP"},
    {},
)
_WELL_KNOWN: Mapping[str, Values] = {
    "google.protobuf.Timestamp": (*NO_INSTANTS, *INSTANTS),
    "google.protobuf.Duration": (*NO_DURATIONS, *DURATIONS),
    "google.protobuf.FieldMask": NO_MASKS,
    "berth.type.v1.Money": (*MONIES, *NO_MESSAGES),
}


def values_for(field: FieldDescriptor, *, listed: bool = False) -> Values:
    """What to put into a field; `listed` tells that it is one element of a list."""
    if field.is_repeated and not listed:
        return NO_LISTS
    if field.enum_type is not None:
        return (field.enum_type.values_by_number[0].name, *NO_ENUMS)
    if field.message_type is not None:
        return _WELL_KNOWN.get(field.message_type.full_name, NO_MESSAGES)
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return (*TEXTS, *NO_TEXTS)
        case FieldDescriptor.TYPE_BOOL:
            return NO_BOOLEANS
        case _:
            return (*NUMBERS, *NO_NUMBERS)


def variants(descriptor: Descriptor, good: Mapping[str, Any]) -> Iterator[tuple[Path, Any, dict[str, Any]]]:
    """The good request again and again, each time with one field wrong: where, what, and the whole."""
    for path, field in _leaves(descriptor, good, ()):
        for value in values_for(field, listed=isinstance(path[-1], int)):
            yield path, value, _with(good, path, value)


def _leaves(descriptor: Descriptor, good: Mapping[str, Any], at: Path) -> Iterator[tuple[Path, FieldDescriptor]]:
    for field in descriptor.fields:
        path = (*at, field.json_name)
        yield path, field
        if field.message_type is None or field.message_type.full_name in _WELL_KNOWN:
            continue
        there = good.get(field.json_name)
        if len(path) >= DEEPEST or not there:
            continue
        if field.is_repeated:
            yield from _leaves(field.message_type, there[0], (*path, 0))
        else:
            yield from _leaves(field.message_type, there, path)


def _with(good: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    whole: Any = deepcopy(dict(good))
    inner: Any = whole
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert isinstance(whole, dict)
    return whole


def json_fields(descriptor: Descriptor, at: str = "", depth: int = 6) -> Iterator[str]:
    """Every path that a violation of this message may name, without indexes."""
    for field in descriptor.fields:
        path = f"{at}{field.json_name}"
        yield path
        if field.message_type is not None and depth:
            yield from json_fields(field.message_type, f"{path}.", depth - 1)
