"""Names of requests: those that callers send are kept where logs can hold them."""

from __future__ import annotations

import re

import pytest

from services.chassis.telemetry.correlation import child_traceparent, new_request_id, new_traceparent, request_id

TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")


@pytest.mark.parametrize("sent", ["req-12345678", "0b9c4f1a-3c1e-4b8e-9d0a-6f1e2d3c4b5a", "A_b.c:d-12"])
def test_a_good_request_id_is_kept(sent: str) -> None:
    assert request_id(sent) == sent


@pytest.mark.parametrize(
    "sent", ["", "short", "x" * 65, "with space 1", 'quote"12345', "line\n12345678", "ünicode-123"]
)
def test_a_bad_one_is_replaced(sent: str) -> None:
    assert request_id(sent) != sent
    assert re.fullmatch(r"[0-9a-f]{32}", request_id(sent))


def test_new_names_differ() -> None:
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_a_trace_goes_on_under_a_span_of_our_own() -> None:
    sent = f"00-{'a' * 32}-{'b' * 16}-01"
    child = child_traceparent(sent)
    assert TRACEPARENT.match(child)
    assert (child[:36], child[-3:]) == (sent[:36], "-01")
    assert child != sent


@pytest.mark.parametrize(
    "sent", ["", "x", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01", f"00-{'A' * 32}-{'b' * 16}-01"]
)
def test_a_trace_that_is_none_begins_anew(sent: str) -> None:
    assert TRACEPARENT.match(child_traceparent(sent))
    assert "a" * 32 not in child_traceparent(sent)
    assert TRACEPARENT.match(new_traceparent())
