"""Prometheus metrics: what every service counts, and the plain HTTP endpoint that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from services.chassis.config import Address

if TYPE_CHECKING:
    from services.chassis.rpc.method import ServerState

# Seconds; fine where the promises are (50 and 500 ms).
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)

Observe = Callable[[str, float], None]


class RpcMetrics:
    """Calls served and calls made, by method and code."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._served = Histogram(
            "berth_rpc_served_seconds", "Calls served.", ("method", "code"), buckets=BUCKETS, registry=registry
        )
        self._in_flight = Gauge("berth_rpc_in_flight", "Calls that are being served.", registry=registry)
        self._restarts = Counter(
            "berth_background_restarts_total",
            "Background work that failed and was begun anew.",
            ("work",),
            registry=registry,
        )

    def served(self, method: str) -> Observe:
        """What counts the calls of one method: taken once, so that a call costs no look-up by label."""
        by_code: dict[str, Histogram] = {}

        def observe(code: str, seconds: float) -> None:
            child = by_code.get(code)
            if child is None:
                child = by_code[code] = self._served.labels(method, code)
            child.observe(seconds)

        return observe

    def watch(self, state: ServerState) -> None:
        """Show how many calls are being served, counted when somebody looks."""
        self._in_flight.set_function(lambda: state.calls)

    def restarted(self, work: str) -> None:
        """Count background work that had to be begun anew."""
        self._restarts.labels(work).inc()


def show(address: Address) -> Callable[[], None]:
    """Serve the metrics of this process from a thread of their own; returns what ends it."""
    server, thread = start_http_server(address.port, addr=address.host)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
