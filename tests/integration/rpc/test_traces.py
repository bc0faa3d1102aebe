"""Spans are exported where an endpoint is configured, under the caller's trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.chassis.telemetry.traces import Traces

SAMPLED = f"00-{'a' * 32}-{'b' * 16}-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: Queue[Any] = Queue()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put((resource.resource, span))
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]  # the package has no types for it
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield collector, f"http://127.0.0.1:{port}"
    await asyncio.to_thread(server.stop(0).wait)


async def test_a_call_is_a_span_of_the_callers_trace(collector: tuple[Collector, str]) -> None:
    kept, endpoint = collector
    traces = Traces("booking", endpoint)
    span = traces.start("/berth.booking.v1.BookingService/GetBooking", SAMPLED)
    assert span.traceparent.startswith(SAMPLED[:36])
    assert span.traceparent.endswith("-01")
    span.end(code="NOT_FOUND", reason="NOT_FOUND", request_id="req-12345678")
    await asyncio.to_thread(traces.close)
    resource, exported = kept.spans.get(timeout=5)
    assert exported.name == "berth.booking.v1.BookingService/GetBooking"
    assert exported.trace_id.hex() == "a" * 32
    assert exported.parent_span_id.hex() == "b" * 16
    assert exported.span_id.hex() == span.traceparent[36:52]
    attributes = {found.key: found.value.string_value for found in exported.attributes}
    assert attributes["berth.request_id"] == "req-12345678"
    assert attributes["error.type"] == "NOT_FOUND"
    assert {found.key: found.value.string_value for found in resource.attributes}["service.name"] == "booking"


async def test_a_trace_that_nobody_samples_is_passed_on_and_not_exported(collector: tuple[Collector, str]) -> None:
    kept, endpoint = collector
    traces = Traces("booking", endpoint)
    span = traces.start("/x/Y", f"{SAMPLED[:-2]}00")
    span.end(code="OK", reason="", request_id="req-12345678")
    await asyncio.to_thread(traces.close)
    assert span.traceparent.startswith(SAMPLED[:36])
    assert kept.spans.empty()
