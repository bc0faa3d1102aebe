"""A stub built from the last release works against today's contracts, and today's answers read well in it."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gateway.contract import Contract, Method
from scripts.gen.released import IMAGE

DEPTH = 4


@pytest.fixture(scope="module")
def released() -> Contract:
    """The contracts of the last release."""
    return Contract.read(IMAGE)


def pairs(released: Contract, contract: Contract) -> Iterator[tuple[Method, Method]]:
    """Each released method with today's."""
    today = {method.path: method for method in contract.methods}
    for method in released.methods:
        assert method.path in today, f"{method.path} was released, and is gone"
        yield method, today[method.path]


def test_something_was_released(released: Contract) -> None:
    assert len(released.external_methods) > 30


def test_released_paths_are_served(released: Contract, contract: Contract) -> None:
    for old, new in pairs(released, contract):
        assert set(old.bindings) <= set(new.bindings), old.path


def test_nobody_lost_access(released: Contract, contract: Contract) -> None:
    for old, new in pairs(released, contract):
        assert new.external >= old.external, old.path
        assert set(new.policy.callers) >= set(old.policy.callers), old.path


def test_an_old_request_arrives_whole(released: Contract, contract: Contract) -> None:
    for old, new in pairs(released, contract):
        sent = filled(released.message_class(old.descriptor.input_type.full_name))
        read = contract.message_class(new.descriptor.input_type.full_name).FromString(sent.SerializeToString())
        assert json_format.MessageToDict(read) == json_format.MessageToDict(sent), old.path


def test_a_new_answer_reads_well_in_an_old_stub(released: Contract, contract: Contract) -> None:
    for old, new in pairs(released, contract):
        sent = filled(contract.message_class(new.descriptor.output_type.full_name))
        read = released.message_class(old.descriptor.output_type.full_name).FromString(sent.SerializeToString())
        assert included(json_format.MessageToDict(read), json_format.MessageToDict(sent)), old.path


def included(less: Any, more: Any) -> bool:
    """Whether everything in one JSON value is in another, which may have fields beyond."""
    if isinstance(less, dict):
        return isinstance(more, dict) and all(key in more and included(value, more[key]) for key, value in less.items())
    if isinstance(less, list):
        return len(less) == len(more) and all(map(included, less, more))
    return bool(less == more)


def filled(kind: Any) -> Message:
    """A message with every field set, to some depth."""
    message: Message = kind()
    _fill(message, DEPTH)
    return message


def _fill(message: Any, depth: int) -> None:
    if message.DESCRIPTOR.full_name == "google.protobuf.FieldMask":
        message.paths.append("name")
        return
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            _fill_message(message, field, depth)
        elif field.is_repeated:
            getattr(message, field.name).append(_scalar(field))
        else:
            setattr(message, field.name, _scalar(field))


def _fill_message(message: Any, field: FieldDescriptor, depth: int) -> None:
    kind = field.message_type
    # An Any needs a type that exists.
    if depth == 0 or kind is None or kind.GetOptions().map_entry or kind.full_name == "google.protobuf.Any":
        return
    if field.is_repeated:
        _fill(getattr(message, field.name).add(), depth - 1)
    else:
        getattr(message, field.name).SetInParent()
        _fill(getattr(message, field.name), depth - 1)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"x" if field.type == FieldDescriptor.TYPE_BYTES else "x",
        FieldDescriptor.CPPTYPE_BOOL: True,
    }.get(field.cpp_type, 7)
