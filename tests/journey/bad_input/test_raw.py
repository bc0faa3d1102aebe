"""Bytes that no client library sends: request smuggling, and HTTP/2 streams opened only to be reset."""

from __future__ import annotations

import socket
import struct
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.journey.world.calls import Calls
from tests.journey.world.world import World

SECONDS = 10.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
RESETS = 3_000
HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
CANCEL = 8


def smuggled(token: str) -> bytes:
    """What an attacker hides behind another request: it must never be answered."""
    body = b'{"displayName": "Smuggled"}'
    head = (
        f"POST /api/v1/vendors HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def pairs(token: str) -> dict[str, bytes]:
    """Requests that two readers could end at two places."""
    hidden = smuggled(token)
    head = b"POST /api/v1/availability/check HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    length = str(len(hidden) + 5).encode()
    chunked = b"0\r\n\r\n" + hidden
    return {
        "length, then chunks": head
        + b"Content-Length: "
        + length
        + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked,
        "chunks, then length": head + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "two lengths": head + b"Content-Length: 0\r\nContent-Length: " + length + b"\r\n\r\n" + hidden,
        "two lengths in one": head + b"Content-Length: 0, " + length + b"\r\n\r\n" + hidden,
        "a length with a sign": head + b"Content-Length: +0\r\n\r\n" + hidden,
        "a length in sixteens": head + b"Content-Length: 0x0\r\n\r\n" + hidden,
        "a folded coding": head + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "a space before the colon": head + b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "an unknown coding": head + b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n" + chunked,
        "two codings": head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked,
        "a coding in capitals and a tab": head
        + b"Transfer-Encoding:\tchunkeD, identity\r\nContent-Length: 4\r\n\r\n"
        + chunked,
        "a bare line feed": b"POST /api/v1/availability/check HTTP/1.1\nHost: x\nContent-Length: 0\n\n"
        + hidden[:-1]
        + b"\x00",
        "a chunk too long": head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + hidden,
        "a chunk with a sign": head + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + hidden,
        "an upgrade": head + UPGRADE + b"Content-Length: " + str(len(chunked)).encode() + b"\r\n\r\n" + chunked,
        "a line break in a value": head
        + b"X-A: a\rContent-Length: 0\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"
        + chunked,
    }


NAMES = list(pairs(""))


def where(calls: Calls) -> tuple[str, int]:
    """The gateway's address."""
    split = urlsplit(calls.mesh.gateway_url)
    return str(split.hostname), int(split.port or 80)


def said_to(calls: Calls, request: bytes) -> bytes:
    """Everything that the gateway says until it hangs up or has said all."""
    answered = b""
    with socket.create_connection(where(calls), timeout=SECONDS) as connection:
        connection.sendall(request)
        connection.settimeout(0.5)
        try:
            while received := connection.recv(65_536):
                answered += received
        except (TimeoutError, ConnectionResetError):
            pass
    return answered


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_smuggled_in(name: str, calls: Calls, world: World) -> None:
    seller = world["rival"]
    answered = said_to(calls, pairs(seller.token)[name])
    # At most one answer, never a success to what was hidden, and never a fault of ours.
    assert b"Smuggled" not in answered
    assert b" 201 " not in answered
    statuses = [int(line.split()[1]) for line in answered.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert len(statuses) <= 1, answered
    assert all(400 <= status < 500 for status in statuses), answered
    shown = seller.must("inventory.v1.VendorService/ListVendors", {"pageSize": 200})["vendors"]
    assert "Smuggled" not in {vendor["displayName"] for vendor in shown}


def test_two_honest_requests_in_one_packet_are_two(calls: Calls) -> None:
    one = b"GET /api/v1/resources?pageSize=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert said_to(calls, one + one).count(b"HTTP/1.1 200 OK") == 2


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header that HPACK does not remember."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def test_streams_that_are_reset_at_once_cost_the_connection(calls: Calls, world: World) -> None:
    """Rapid reset (CVE-2023-44487): the connection ends, and everybody else is served as before."""
    block = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"x"),
            (b":path", b"/api/v1/resources"),
        )
    )
    began = time.monotonic()
    ended = False
    with socket.create_connection(where(calls), timeout=SECONDS) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        try:
            for start in range(0, RESETS, 100):
                burst = b""
                for number in range(start, start + 100):
                    stream = 2 * number + 1
                    burst += frame(HEADERS, 0x5, stream, block)
                    burst += frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
                connection.sendall(burst)
            connection.settimeout(SECONDS)
            while received := connection.recv(65_536):
                ended = ended or bytes((GOAWAY,)) in received[3:4]
            ended = True
        except (ConnectionResetError, BrokenPipeError):
            ended = True
        except TimeoutError:
            pass
    print(  # noqa: T201 - a measure worth seeing
        f"\nrapid reset: {RESETS} streams, connection {'ended' if ended else 'still open'}"
        f" after {time.monotonic() - began:.2f} s"
    )
    assert ended
    began = time.monotonic()
    answers = [httpx.get(f"{calls.mesh.gateway_url}/api/v1/resources", timeout=SECONDS) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert time.monotonic() - began < SECONDS
    assert world["customer"].must("auth.v1.UserService/GetMe", {})
