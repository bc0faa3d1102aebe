"""Owns the journey as an operator makes it: grpcurl through the gateway, and straight at a service by certificate."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scripts.demo.journey import ROOM, VENDOR
from tests.grpcurl import BUILD_SECONDS, DESCRIPTORS
from tests.mesh import Mesh

GRPCURL_SECONDS = 30


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=GRPCURL_SECONDS, check=False)


def through_the_gateway(mesh: Mesh, grpcurl: str, method: str, request: dict[str, Any], token: str = "") -> Any:
    headers = ["-H", f"authorization: Bearer {token}"] if token else ["-H", "berth-tenant: demo"]
    address = mesh.gateway_url.removeprefix("http://")
    done = run(
        grpcurl, "-plaintext", "-protoset", str(DESCRIPTORS), *headers, "-d", json.dumps(request), address, method
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def straight(mesh: Mesh, grpcurl: str, service: str, *what: str, name: str = "operator") -> Any:
    tls: Path = mesh.tls
    certificates = ["-cacert", f"{tls}/ca.crt", "-cert", f"{tls}/{name}.crt", "-key", f"{tls}/{name}.key"]
    return run(grpcurl, *certificates, "-authority", service, mesh.endpoint(service), *what)


@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_an_operator_books_and_reads(mesh: Mesh, grpcurl: str) -> None:
    person = {"email": "customer@demo.berth.example", "password": "harbour-lights-42"}
    session = through_the_gateway(mesh, grpcurl, "berth.auth.v1.AuthService/Login", person)
    token = session["tokens"]["accessToken"]
    listed = through_the_gateway(
        mesh, grpcurl, "berth.inventory.v1.ResourceService/ListResources", {"vendorId": VENDOR}
    )
    room = next(resource for resource in listed["resources"] if resource["resourceId"] == ROOM)
    arrival = datetime.now(UTC).date() + timedelta(days=75)
    order = {
        "resourceId": room["resourceId"],
        "startDate": arrival.isoformat(),
        "endDate": (arrival + timedelta(days=1)).isoformat(),
        "userDetails": {"firstName": "John", "lastName": "Doe", "email": "john@mail.example"},
        "paymentDetails": {"token": "pm_card_visa"},
    }
    booked = through_the_gateway(mesh, grpcurl, "berth.booking.v1.BookingService/CreateBooking", order, token)
    assert booked["status"] == "CONFIRMED"
    read = through_the_gateway(
        mesh, grpcurl, "berth.booking.v1.BookingService/GetBooking", {"bookingId": booked["bookingId"]}, token
    )
    assert read["confirmationCode"] == booked["confirmationCode"]


@pytest.mark.parametrize("service", ["auth", "inventory", "booking", "payment", "notification"])
def test_every_service_lists_describes_and_tells_its_health(mesh: Mesh, grpcurl: str, service: str) -> None:
    listed = straight(mesh, grpcurl, service, "list").stdout.split()
    own = [name for name in listed if name.startswith(f"berth.{service}.v1.")]
    assert own
    assert "grpc.health.v1.Health" in listed
    assert f"service {own[0].rpartition('.')[2]} {{" in straight(mesh, grpcurl, service, "describe", own[0]).stdout
    assert "SERVING" in straight(mesh, grpcurl, service, "grpc.health.v1.Health/Check").stdout


def test_an_operator_is_no_service(mesh: Mesh, grpcurl: str) -> None:
    asked = straight(mesh, grpcurl, "booking", "berth.booking.v1.BookingDirectoryService/DescribeBooking")
    assert "CALLER_NOT_ALLOWED" in asked.stderr


def test_nobody_enters_without_a_certificate(mesh: Mesh, grpcurl: str) -> None:
    done = run(grpcurl, "-insecure", "-authority", "booking", "-max-time", "5", mesh.endpoint("booking"), "list")
    assert done.returncode != 0
    assert "berth.booking" not in done.stdout
