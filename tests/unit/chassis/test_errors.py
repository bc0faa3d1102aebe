"""Each refusal means on the wire what its contract says, and each shared reason has one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest
from berth.type.v1 import error_reason_pb2
from google.rpc import error_details_pb2

from services.chassis import errors
from services.chassis.errors import InvalidField, NotFound, Refusal, Violation
from services.chassis.rpc.errors import (
    DOMAIN,
    INTERNAL_MESSAGE,
    MAX_VIOLATIONS,
    RemoteError,
    internal_error,
    json_path,
    refusal_of,
    wire_error,
)
from services.chassis.rpc.policy import reasons_of

SHARED = reasons_of("berth.type.v1")
CLASSES: list[type[Refusal]] = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, Refusal) and found is not Refusal
]
# Only the gateway sends these; INTERNAL is what the boundary makes of everything unknown.
NOT_OURS_TO_RAISE = {"ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED", "PAYLOAD_TOO_LARGE", "INTERNAL"}


def test_every_shared_reason_has_one_class() -> None:
    documented = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"} - NOT_OURS_TO_RAISE
    assert sorted(found.reason for found in CLASSES) == sorted(documented)


@pytest.mark.parametrize("refusal", CLASSES, ids=lambda found: found.reason)
def test_each_has_its_code_its_metadata_and_a_sentence(refusal: type[Refusal]) -> None:
    policy = SHARED[refusal.reason]
    metadata: dict[str, Any] = dict.fromkeys(policy.metadata, "x")
    raised = refusal(**metadata)
    assert raised.message.endswith(".")
    error = wire_error(raised, SHARED, "req", strict=True)
    assert (error.reason, error.code.name) == (refusal.reason, policy.code)
    assert error.status.code == error.code.value[0]
    info = error_details_pb2.ErrorInfo()
    assert [detail.Unpack(info) for detail in error.status.details].count(True) == 1
    assert (info.reason, info.domain, frozenset(info.metadata)) == (refusal.reason, DOMAIN, policy.metadata)
    passes = error.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert (error.retry_after is not None) == passes


def test_only_developers_are_stopped_by_metadata_that_no_contract_has() -> None:
    wrong = NotFound(resource="x", more="y")
    assert wire_error(wrong, SHARED, "req", strict=True).reason == "INTERNAL"
    assert wire_error(wrong, SHARED, "req").reason == "NOT_FOUND"


def test_a_running_key_says_when_to_come_back() -> None:
    error = wire_error(errors.IdempotencyInProgress(retry_after=timedelta(seconds=3)), SHARED, "req")
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in error.status.details)
    assert retry.retry_delay.seconds == 3


def test_violations_have_json_paths_and_a_limit() -> None:
    found = [Violation(f"line_items[{number}].unit_price", "is wrong", "rule") for number in range(200)]
    error = wire_error(InvalidField(violations=found), SHARED, "req")
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in error.status.details)
    assert len(bad.field_violations) == MAX_VIOLATIONS
    assert bad.field_violations[0].field == "lineItems[0].unitPrice"


@pytest.mark.parametrize(
    ("path", "written"), [("", ""), ("a", "a"), ("first_name", "firstName"), ("a_b.c_d[1].e_f", "aB.cD[1].eF")]
)
def test_paths(path: str, written: str) -> None:
    assert json_path(path) == written


def test_what_is_internal_says_nothing() -> None:
    error = internal_error("req-1")
    assert error.status.message == INTERNAL_MESSAGE
    named = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(named) for detail in error.status.details)
    assert named.request_id == "req-1"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_what_a_dependency_refused_passes_only_where_it_says_nothing_of_it(code: grpc.StatusCode) -> None:
    refusal = refusal_of(RemoteError(code, "REASON", "text", {"secret": "x"}))
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        assert isinstance(refusal, errors.DeadlineExceeded)
    elif code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        assert isinstance(refusal, errors.DependencyUnavailable)
    else:
        assert refusal is None
