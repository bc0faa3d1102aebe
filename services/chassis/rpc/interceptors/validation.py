"""Checks the request against the rules in its contract."""

from __future__ import annotations

from typing import Any

import protovalidate

from services.chassis.errors import InvalidField, Violation
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring

_VALIDATOR = protovalidate.Validator()


def bind(method: Method, _wiring: Wiring) -> Middleware | None:
    """For methods of our contracts. Rules that do not compile keep the server from starting."""
    if method.request_type is None:
        return None
    _VALIDATOR.collect_violations(method.request_type())
    collect = _VALIDATOR.collect_violations

    async def validate(call: Call, proceed: Proceed) -> Any:
        found = collect(call.request)
        if found:
            raise InvalidField(violations=[_violation(violation.proto) for violation in found])
        return await proceed(call)

    return validate


def _violation(found: protovalidate.ViolationPb) -> Violation:
    """The library's violations are messages of another protobuf runtime, so they are read field by field."""
    return Violation(_path(found.field), found.message or found.rule_id, found.rule_id)


def _path(field: protovalidate.FieldPathPb | None) -> str:
    if field is None:  # a rule of the whole message
        return ""
    parts: list[str] = []
    for element in field.elements:
        subscript = element.subscript
        index = f"[{subscript.value}]" if subscript is not None else ""
        parts.append(f"{element.field_name}{index}")
    return ".".join(parts)
