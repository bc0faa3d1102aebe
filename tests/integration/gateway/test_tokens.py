"""Tokens at the gateway: judged where a permission is needed, with auth up and with auth out."""

import time
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.integration.gateway.conftest import Sign
from tests.integration.gateway.echo import EchoService, Script
from tests.integration.gateway.envoy import Gateway, running
from tests.integration.gateway.test_rest import BOOKING, refusal

NOWHERE = ["127.0.0.1:1"]


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_a_good_token_reaches_the_service(rest: httpx.Client, script: Script, sign: Sign) -> None:
    token = sign()
    assert rest.get(BOOKING, headers=bearer(token)).status_code == 200
    assert script.seen[-1].metadata["authorization"] == f"Bearer {token}"


def test_a_tokens_signature_is_checked_once_and_another_one_is_not_believed(
    gateway: Gateway, rest: httpx.Client, script: Script, sign: Sign
) -> None:
    token = sign(exp=int(time.time()) + 4321)
    known = gateway.counted("jwt_cache_hit")
    assert [rest.get(BOOKING, headers=bearer(token)).status_code for _ in range(3)] == [200] * 3
    assert gateway.counted("jwt_cache_hit") == known + 2
    script.seen.clear()
    said, _, signature = token.rpartition(".")
    forged = f"{said}.{signature[:9]}{'A' if signature[9] != 'A' else 'B'}{signature[10:]}"
    assert refusal(rest.get(BOOKING, headers=bearer(forged))) == (401, 16, "TOKEN_INVALID")
    assert script.seen == []


def test_a_missing_token_is_left_to_the_service(rest: httpx.Client, script: Script) -> None:
    assert rest.get(BOOKING).status_code == 200
    assert "authorization" not in script.seen[-1].metadata


def test_bad_tokens_are_refused_before_the_service(
    rest: httpx.Client, script: Script, sign: Sign, signing_key: Ed25519PrivateKey
) -> None:
    now = int(time.time())
    public = signing_key.public_key().public_bytes_raw()
    bad = {
        "no token": "abc",
        "expired": sign(exp=now - 60),
        "without an end": jwt.encode({"iss": "berth", "aud": "berth"}, signing_key, "EdDSA", headers={"kid": "k1"}),
        "other audience": sign(aud="other"),
        "other issuer": sign(iss="other"),
        "other key": sign(key=Ed25519PrivateKey.generate()),
        "unknown kid": sign(kid="k9"),
        "unsigned": jwt.encode({"iss": "berth", "aud": "berth", "exp": now + 60}, "", "none", headers={"kid": "k1"}),
        "public key as secret": jwt.encode(
            {"iss": "berth", "aud": "berth", "exp": now + 60}, public, "HS256", headers={"kid": "k1"}
        ),
    }
    for name, token in bad.items():
        assert refusal(rest.get(BOOKING, headers=bearer(token))) == (401, 16, "TOKEN_INVALID"), name
    assert script.seen == []


def test_a_stale_token_does_not_keep_anybody_from_logging_in(rest: httpx.Client, script: Script, sign: Sign) -> None:
    response = rest.post("/api/v1/auth/login", json={}, headers=bearer(sign(exp=1)))
    assert response.status_code == 200


@pytest.mark.timeout(90)
def test_tokens_while_auth_is_out(
    services: tuple[Script, dict[str, list[str]]], script: Script, folder: Path, jwks: str, sign: Sign
) -> None:
    endpoints = services[1] | {"auth": NOWHERE}
    with running(folder, endpoints, awaited={"booking"}) as gateway:
        response = httpx.get(gateway.url + BOOKING, headers=bearer(sign()))
        assert refusal(response) == (503, 14, "DEPENDENCY_UNAVAILABLE")
        assert response.headers["retry-after"] == "1"
    with running(folder, endpoints, awaited={"booking"}, jwks=jwks) as gateway:
        assert httpx.get(gateway.url + BOOKING, headers=bearer(sign())).status_code == 200
        assert refusal(httpx.get(gateway.url + BOOKING, headers=bearer(sign(aud="x"))))[0] == 401


def test_a_service_with_anothers_certificate_is_not_believed(
    services: tuple[Script, dict[str, list[str]]], script: Script, folder: Path
) -> None:
    with EchoService("auth", script, folder, certified_as="payment") as impostor:
        endpoints = services[1] | {"auth": [f"127.0.0.1:{impostor.port}"]}
        with running(folder, endpoints, awaited={"booking"}) as gateway:
            response = httpx.post(gateway.url + "/api/v1/auth/login", json={})
            assert refusal(response) == (503, 14, "DEPENDENCY_UNAVAILABLE")
            assert response.headers["retry-after"] == "1"
    assert script.seen == []
