"""Owns a running double, a webhook endpoint beside it, and the official SDK pointed at it."""

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

ROOT = Path(__file__).resolve().parents[3]
API_KEY = "sk_test_double"
WEBHOOK_SECRET = "whsec_double"


@dataclass
class Endpoint:
    """A webhook endpoint that keeps what it gets and answers as told."""

    url: str = ""
    received: "queue.Queue[tuple[dict[str, str], bytes]]" = field(default_factory=queue.Queue)
    answers: list[int] = field(default_factory=list)

    def next(self, seconds: float = 5.0) -> stripe.Event:
        """The next event, its signature verified by the SDK."""
        headers, body = self.received.get(timeout=seconds)
        event: stripe.Event = stripe.Webhook.construct_event(body, headers["stripe-signature"], WEBHOOK_SECRET)
        return event

    def until(self, event_type: str, object_id: str) -> stripe.Event:
        while True:
            event = self.next()
            if event.type == event_type and event.data.object["id"] == object_id:
                return event


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    kept = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = kept.answers.pop(0) if kept.answers else 200
            kept.received.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name http.server gives it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{server.server_port}/"
    yield kept
    server.shutdown()
    server.server_close()


@dataclass
class Double:
    """A running double: its process, the SDK, and its control paths."""

    process: "subprocess.Popen[str]"
    url: str

    def client(self, *, retries: int = 0, key: str = API_KEY) -> stripe.StripeClient:
        return stripe.StripeClient(
            key,
            base_addresses={"api": self.url},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=2),
        )

    def get(self, path: str, **query: Any) -> Any:
        return httpx.get(f"{self.url}/_double/{path}", params=query).json()

    def post(self, path: str, body: Any = None, **query: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/_double/{path}", json=body, params=query)

    def fault(self, **script: Any) -> None:
        self.post("faults", script).raise_for_status()

    def ledger(self, intent: str) -> list[tuple[str, int]]:
        return [(entry["kind"], entry["amount"]) for entry in self.get("ledger", payment_intent=intent)["data"]]

    def stop(self, *, kill: bool = False) -> None:
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def start_double(endpoint: Endpoint) -> Iterator[Callable[..., Double]]:
    running: list[Double] = []

    def start(data_dir: Path | None = None, *more: str) -> Double:
        command = [sys.executable, "-m", "infra.doubles.stripe", "--port", "0", "--api-key", API_KEY]
        command += ["--webhook-secret", WEBHOOK_SECRET, "--webhook-url", endpoint.url]
        command += ["--webhook-backoff-seconds", "0.1", *(("--data-dir", str(data_dir)) if data_dir else ()), *more]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        double = Double(process, process.stdout.readline().strip().rpartition(" ")[2])
        running.append(double)
        return double

    yield start
    for double in running:
        if double.process.poll() is None:
            double.stop()


@pytest.fixture(scope="session")
def shared_double(start_double: Callable[..., Double]) -> Double:
    return start_double()


@pytest.fixture
def double(shared_double: Double, endpoint: Endpoint) -> Iterator[Double]:
    endpoint.answers.clear()
    yield shared_double
    httpx.delete(f"{shared_double.url}/_double/faults")


@pytest.fixture
def client(double: Double) -> stripe.StripeClient:
    return double.client()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 5
        while not holds():
            assert time.monotonic() < end, "did not come true within 5 s"
            time.sleep(0.02)

    return wait
