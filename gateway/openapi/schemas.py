"""Messages as JSON Schemas, as the transcoder writes them, with the contracts' validation rules as constraints."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.contract import Contract
from gateway.messages import OUTPUT_ONLY, Rules

Schema = dict[str, Any]

WELL_KNOWN: Mapping[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Field names, comma-separated."},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Empty": {"type": "object"},
}
TYPES: Mapping[int, Schema] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    # 64-bit numbers are texts in protobuf's JSON.
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64"},
}
# A rule's name to its keyword, where the value is taken as it is.
KEYWORDS: Mapping[str, str] = {
    "min_len": "minLength",
    "max_len": "maxLength",
    "pattern": "pattern",
    "gte": "minimum",
    "lte": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
    "const": "const",
    "min_items": "minItems",
    "max_items": "maxItems",
    "unique": "uniqueItems",
    "min_pairs": "minProperties",
    "max_pairs": "maxProperties",
}
FORMATS: Mapping[str, str] = {"email": "email", "uri": "uri", "uuid": "uuid", "hostname": "hostname", "ip": "ip"}


class Schemas:
    """The components that a document's methods need, collected while they are asked for."""

    def __init__(self, contract: Contract, texts: Mapping[str, str]) -> None:
        self._contract = contract
        self._texts = texts
        self._names: dict[str, str] = {}
        self.components: dict[str, Schema] = {}

    def reference(self, message: Descriptor, without: Iterable[str] = ()) -> Schema:
        """A reference to a message's schema; `without` leaves out fields that travel elsewhere, as in the path."""
        if message.full_name in WELL_KNOWN:
            return dict(WELL_KNOWN[message.full_name])
        return self._component(message.full_name, lambda: self._object(message, frozenset(without)))

    def field(self, field: FieldDescriptor) -> Schema:
        """A field's schema, with its comment and its constraints."""
        rules = Rules(self._contract, field)
        own = rules.of_type()
        if field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = self._single(field.message_type.fields_by_name["value"])
            schema: Schema = {"type": "object", "additionalProperties": values} | _constraints(own)
        elif field.is_repeated:
            items = self._single(field)
            item_rules = own.pop("items", None)
            if item_rules is not None:
                items |= _constraints(_type_rules(item_rules))
            schema = {"type": "array", "items": items} | _constraints(own)
        else:
            schema = self._single(field) | _constraints(own)
        if rules.zero_allowed and "pattern" in schema:
            schema["pattern"] = f"^$|{schema['pattern']}"
        if rules.required and schema.get("type") == "string" and "format" not in schema:
            schema.setdefault("minLength", 1)
        if OUTPUT_ONLY in rules.behaviors:
            schema["readOnly"] = True
        text = self._texts.get(field.full_name)
        return schema | ({"description": text} if text else {})

    def _single(self, field: FieldDescriptor) -> Schema:
        if field.message_type is not None:
            return self.reference(field.message_type)
        if field.enum_type is not None:
            enum = field.enum_type
            return self._component(enum.full_name, lambda: self._enum(enum))
        return dict(TYPES[field.type])

    def _component(self, full_name: str, make: Callable[[], Schema]) -> Schema:
        name = self._name(full_name)
        if name not in self.components:
            self.components[name] = {}  # a message may contain itself
            self.components[name] = make()
        return {"$ref": f"#/components/schemas/{name}"}

    def _name(self, full_name: str) -> str:
        # `berth.booking.v1.Booking.Status` is `Booking.Status`; where two services have one name, the service tells.
        if full_name not in self._names:
            package, short = re.fullmatch(r"((?:[a-z0-9]+\.)+)(.+)", full_name).groups()  # type: ignore[union-attr]  # every name has a package
            taken = short in self._names.values()
            self._names[full_name] = f"{package.split('.')[1]}.{short}" if taken else short
        return self._names[full_name]

    def _object(self, message: Descriptor, without: frozenset[str]) -> Schema:
        fields = [field for field in message.fields if field.name not in without]
        required = [field.json_name for field in fields if Rules(self._contract, field).required]
        schema: Schema = {"type": "object", "properties": {field.json_name: self.field(field) for field in fields}}
        if required:
            schema["required"] = required
        rules = self._contract.option(message.GetOptions(), "buf.validate.message")
        sentences = [rule.message for rule in rules.cel] if rules is not None else []
        if sentences:
            schema["x-berth-rules"] = sentences
        text = " ".join([self._texts.get(message.full_name, ""), *(f"Rule: {sentence}." for sentence in sentences)])
        return {"description": text.strip()} | schema

    def _enum(self, enum: EnumDescriptor) -> Schema:
        values = [value.name for value in enum.values]
        told = [f"`{name}`: {self._texts.get(f'{enum.full_name}.{name}', '')}" for name in values]
        text = self._texts.get(enum.full_name, "")
        return {"type": "string", "enum": values, "description": "\n\n".join([text, "\n".join(told)])}


def _type_rules(rules: Any) -> dict[str, object]:
    kind = rules.WhichOneof("type")
    return {field.name: value for field, value in getattr(rules, kind).ListFields()} if kind else {}


def _constraints(rules: Mapping[str, object]) -> Schema:
    schema: Schema = {}
    for name, value in rules.items():
        if isinstance(value, Message):
            # A duration's bounds are no keyword of JSON Schema.
            schema[f"x-berth-{KEYWORDS.get(name, name)}"] = json_format.MessageToDict(value)
        elif name in KEYWORDS:
            schema[KEYWORDS[name]] = value
        elif name == "len":
            schema |= {"minLength": value, "maxLength": value}
        elif name == "in":
            schema["enum"] = list(value)  # type: ignore[call-overload]  # protovalidate's `in` is a list
        elif name in FORMATS and value:
            schema["format"] = FORMATS[name]
    return schema
