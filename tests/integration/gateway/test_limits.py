"""What the gateway does when a service is slow or gone, or a caller is too quick."""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import httpx
import pytest

from gateway import clusters, limits, routes
from tests.integration.gateway.echo import EchoService, Script
from tests.integration.gateway.envoy import Gateway, running
from tests.integration.gateway.test_rest import BOOKING, GET, refusal


def test_a_service_that_hangs_is_given_up_at_the_deadline(rest: httpx.Client, script: Script) -> None:
    released = threading.Event()

    def hang(request: object, context: grpc.ServicerContext) -> None:
        released.wait(10)

    script.answers[GET] = hang
    began = time.monotonic()
    try:
        response = rest.get(BOOKING)
    finally:
        released.set()
    assert response.status_code == 504
    assert 1.9 < time.monotonic() - began < 3.6


def test_the_gateway_itself_never_retries(rest: httpx.Client, script: Script) -> None:
    script.answers[GET] = lambda request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "out")
    assert rest.get(BOOKING).status_code == 503
    assert len(script.seen) == 1


@pytest.fixture
def booking(script: Script, folder: Path) -> Iterator[EchoService]:
    """A service of the test's own."""
    with EchoService("booking", script, folder) as service:
        yield service


@pytest.fixture
def its_gateway(booking: EchoService, services: tuple[Script, dict[str, list[str]]], folder: Path) -> Iterator[Gateway]:
    """A gateway before it."""
    endpoints = services[1] | {"booking": [f"127.0.0.1:{booking.port}"]}
    with running(folder, endpoints, awaited={"booking"}) as gateway:
        assert httpx.get(gateway.url + BOOKING).status_code == 200
        yield gateway


def test_a_service_that_went_away_is_503_at_once(booking: EchoService, its_gateway: Gateway) -> None:
    booking.__exit__()
    began = time.monotonic()
    response = httpx.get(its_gateway.url + BOOKING)
    assert refusal(response) == (503, 14, "DEPENDENCY_UNAVAILABLE")
    assert time.monotonic() - began < 2.5


def test_a_service_too_busy_to_say_that_it_is_well_still_gets_calls(booking: EchoService, its_gateway: Gateway) -> None:
    booking.health.silent.set()
    give_up = time.monotonic() + 5 * clusters.HEALTH_TIMEOUT.total_seconds()
    while "booking" in its_gateway.healthy():
        assert time.monotonic() < give_up, "its silence was never noticed"
        time.sleep(0.1)
    assert httpx.get(its_gateway.url + BOOKING).status_code == 200
    booking.health.silent.clear()


def test_a_caller_beyond_the_rate_is_429(
    services: tuple[Script, dict[str, list[str]]],
    script: Script,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow: Mapping[str, limits.Rate] = dict.fromkeys(limits.RATES, limits.Rate(per_second=1, burst=3))
    monkeypatch.setattr(routes, "RATES", slow)
    with running(folder, services[1], awaited={"booking"}) as gateway, httpx.Client(base_url=gateway.url) as rest:
        answers = [rest.get(BOOKING) for _ in range(6)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 2
    assert refusal(refused[0]) == (429, 8, "RATE_LIMITED")
    assert refused[0].headers["retry-after"] == "1"
