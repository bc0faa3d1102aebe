"""Example requests: made from types, patterns and comments; written by hand where a rule spans several fields."""

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.contract import Contract
from gateway.messages import Rules

ID = "01jd3x8k2m7qapvr5t9wz4c6he"
RESOURCE = f"res_{ID}"
STAY = {"resourceId": RESOURCE, "startDate": "2027-05-01", "endDate": "2027-05-03", "quantity": 1}

# Requests whose rules span several fields, by the method's name.
BY_HAND: Mapping[str, dict[str, Any]] = {
    "CheckAvailability": STAY,
    "CreateQuote": {"items": [STAY]},
    "PlaceHold": {"items": [STAY]},
    "CreateBooking": STAY
    | {
        "userDetails": {
            "firstName": "Ada",
            "lastName": "Lovelace",
            "email": "ada@example.com",
            "phone": "+4940123456",
        },
        "paymentMethod": "credit_card",
        "paymentDetails": {"token": "pm_card_visa"},
    },
}
# What a field of this name usually holds.
BY_NAME: Mapping[str, str] = {
    "amount": "150.00",
    "currency_code": "EUR",
    "date": "2027-05-01",
    "display_name": "Harbour Rooms",
    "email": "ada@example.com",
    "end_date": "2027-05-03",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "locale": "en",
    "name": "Harbour Rooms",
    "otp": "123456",
    "password": "correct horse battery staple",
    "phone": "+4940123456",
    "slug": "demo",
    "start_date": "2027-05-01",
    "time_zone": "Europe/Berlin",
    "token": "pm_card_visa",
}
BY_TYPE: Mapping[str, str] = {
    "google.protobuf.Duration": "600s",
    "google.protobuf.Timestamp": "2027-05-01T10:00:00Z",
}
ID_PATTERN = re.compile(r"\(?(?:[a-z]+\|)?([a-z]{3})_\[0-9a-hjkmnp-tv-z\]\{26\}")


def request_example(contract: Contract, method: str, message: Descriptor) -> dict[str, Any]:
    """A request that the service would take, with the required fields."""
    return dict(BY_HAND[method]) if method in BY_HAND else _message(contract, message)


def field_example(contract: Contract, field: FieldDescriptor) -> Any:
    """A value that the field's rules allow."""
    rules = Rules(contract, field)
    value = _value(contract, field, rules.of_type())
    return [value] if field.is_repeated else value


def _message(contract: Contract, message: Descriptor) -> dict[str, Any]:
    required = [field for field in message.fields if Rules(contract, field).required]
    return {field.json_name: field_example(contract, field) for field in required}


def _value(contract: Contract, field: FieldDescriptor, own: Mapping[str, Any]) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name in BY_TYPE:
            return BY_TYPE[field.message_type.full_name]
        return _message(contract, field.message_type)
    if field.enum_type is not None:
        return field.enum_type.values[1].name
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        return max(1, int(own.get("gte", 0)))
    return _text(field.name, own)


def _text(name: str, own: Mapping[str, Any]) -> str:
    if "in" in own:
        return str(next(value for value in own["in"] if value))
    if match := ID_PATTERN.search(str(own.get("pattern", ""))):
        return f"{match[1]}_{ID}"
    return BY_NAME.get(name, "example")
