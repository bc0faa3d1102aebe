"""OpenTelemetry spans, exported where an endpoint is configured; imported only then, for they cost 20 MiB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.chassis.telemetry.correlation import child_traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan

SAMPLED_SHARE = 0.05  # of the traces that begin here; those that a caller samples are always kept


class Span:
    """One call's part of a trace."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: OtelSpan, traceparent: str) -> None:
        self._span = span
        self.traceparent = traceparent

    def end(self, *, code: str, reason: str, request_id: str) -> None:
        """Note how the call ended."""
        self._span.set_attribute("rpc.response.status_code", code)
        self._span.set_attribute("berth.request_id", request_id)
        if reason:
            self._span.set_attribute("error.type", reason)
        self._span.end()


class Traces:
    """Starts spans and sends them off in the background."""

    def __init__(self, service: str, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider: TracerProvider = TracerProvider(
            resource=Resource.create({"service.name": service}),
            sampler=ParentBased(TraceIdRatioBased(SAMPLED_SHARE)),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://")))
        )
        self._tracer = self._provider.get_tracer("berth")
        self._propagator = TraceContextTextMapPropagator()
        self._server = SpanKind.SERVER

    def start(self, method: str, traceparent: str) -> Span:
        """A span for a call that is served, under the caller's where it sent one."""
        from opentelemetry.trace import set_span_in_context

        parent = self._propagator.extract({"traceparent": traceparent}) if traceparent else None
        span = self._tracer.start_span(
            method.removeprefix("/"), context=parent, kind=self._server, attributes={"rpc.system.name": "grpc"}
        )
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return Span(span, carrier.get("traceparent") or child_traceparent(traceparent))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
