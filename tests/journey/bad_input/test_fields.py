"""Every field of every method with every wrong value: refused clearly or taken, and never a fault of ours."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseError

from gateway.contract import Contract, Method
from tests.journey.bad_input.good import Good
from tests.journey.bad_input.values import json_fields, variants
from tests.journey.world.calls import Calls, Reply, ShapeError

EXTERNAL = [method for method in Contract.read().methods if method.external]
FUZZED = [method for method in EXTERNAL if not method.takes_bytes]
OURS = {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS", "DEADLINE_EXCEEDED"}


def by_path(method: Method) -> str:
    """A test's name for a method."""
    return method.path.removeprefix("/berth.")


@pytest.fixture(scope="module")
def sent() -> Iterator[Counter[str]]:
    """Counts what was sent."""
    began, counted = time.monotonic(), Counter[str]()
    yield counted
    print(  # noqa: T201 - a measure worth seeing
        f"\nbad input: {len(FUZZED)} methods, {counted['REST']} wrong requests by REST and {counted['gRPC']} by gRPC,"
        f" {counted['refused']} refused, in {time.monotonic() - began:.1f} s"
    )


def test_every_external_method_has_a_good_request(good: dict[str, Good]) -> None:
    assert sorted(by_path(method) for method in EXTERNAL) == sorted(good)


@pytest.mark.parametrize("method", FUZZED, ids=by_path)
def test_a_wrong_field(method: Method, calls: Calls, good: dict[str, Good], sent: Counter[str]) -> None:
    told: list[str] = []
    request = good[by_path(method)]
    known = set(json_fields(method.descriptor.input_type))
    for path, value, whole in variants(method.descriptor.input_type, request.fields):
        for wire, answer in answers(calls, method, request, whole):
            sent[wire] += 1
            label = f"{'.'.join(map(str, path))} = {str(value)[:40]!r} by {wire}"
            if isinstance(answer, ShapeError):
                told.append(f"{label}: {answer}")
                continue
            sent["refused"] += not answer.ok
            if answer.code in OURS:
                told.append(f"{label}: {answer.code} {answer.reason} {answer.body}")
            unknown = {re.sub(r"\[\d+\]", "", name) for name in answer.fields} - known - {""}
            if unknown:
                told.append(f"{label}: violations name {sorted(unknown)}")
    assert told == []


def answers(
    calls: Calls, method: Method, request: Good, whole: dict[str, Any]
) -> Iterator[tuple[str, Reply | ShapeError]]:
    """What both wires say; gRPC only where its types can say it."""
    try:
        yield "REST", calls.by_rest(method, whole, request.headers)
    except ShapeError as error:
        yield "REST", error
    try:
        yield "gRPC", calls.by_grpc(method, whole, request.headers)
    except ShapeError as error:
        yield "gRPC", error
    except (ParseError, UnicodeEncodeError, ValueError, TypeError, AttributeError):
        return  # the client's own library refuses
