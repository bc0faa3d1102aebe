"""Requests that no client library would send: refused, and never passed on."""

import socket

import pytest

from tests.integration.gateway.echo import Script
from tests.integration.gateway.envoy import Gateway

HEAD = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
RAW = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 5\r\n\r\n{}",
    "length and chunks": HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "unknown coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n{}",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "http 1.0": b"POST /api/v1/auth/login HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}",
    "space before colon": HEAD + b"X-A : 1\r\nContent-Length: 2\r\n\r\n{}",
    "nul in a header": HEAD + b"X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
    "no host": b"POST /api/v1/auth/login HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "no verb": b"GARBAGE\r\n\r\n",
    "absurd verb": b"BREW /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n\r\n",
    "dots out of the root": b"GET /api/v1/../../berth.auth.v1.KeyService/GetJwks HTTP/1.1\r\nHost: x\r\n\r\n",
    "escaped slash": b"GET /api/v1/bookings%2Fbkg_1 HTTP/1.1\r\nHost: x\r\n\r\n",
}


def answer(gateway: Gateway, request: bytes) -> bytes:
    """The first bytes of what the gateway says to raw bytes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


@pytest.mark.parametrize("name", RAW)
def test_a_malformed_request_is_refused(gateway: Gateway, script: Script, name: str) -> None:
    said = answer(gateway, RAW[name])
    status = int(said.split(b" ", 2)[1])
    assert 400 <= status < 500, said[:300]
    assert [seen.method for seen in script.seen] == []
    assert b'"reason":"' in said or b"content-length: 0" in said.lower(), said[:500]
