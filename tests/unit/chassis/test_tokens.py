"""A token is believed only when everything about it is right, and only as long as it lives."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.chassis.clock import FixedClock
from services.chassis.errors import DependencyUnavailable, TokenInvalid
from services.chassis.ids import new_id
from services.chassis.rpc.errors import RemoteError
from services.chassis.tokens import keys as keys_module
from services.chassis.tokens.keys import Jwk, KeySet
from services.chassis.tokens.verify import TokenVerifier

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = new_id("ten", at=START)
USER = new_id("usr", at=START)


class Owner:
    """Owns two keys and publishes them, unless it is out."""

    def __init__(self) -> None:
        self.edwards = Ed25519PrivateKey.generate()
        self.elliptic = ec.generate_private_key(ec.SECP256R1())
        self.out = False
        self.fetches = 0
        self.published = ["ed", "es"]

    async def fetch(self) -> Sequence[Jwk]:
        self.fetches += 1
        if self.out:
            raise RemoteError(grpc.StatusCode.UNAVAILABLE, "DRAINING", "gone")
        edwards = jwt.algorithms.OKPAlgorithm.to_jwk(self.edwards.public_key(), as_dict=True)
        elliptic = jwt.algorithms.ECAlgorithm.to_jwk(self.elliptic.public_key(), as_dict=True)
        found = {
            "ed": {**edwards, "kid": "ed", "use": "sig", "alg": "EdDSA"},
            "es": {**elliptic, "kid": "es", "use": "sig", "alg": "ES256"},
        }
        return [found[name] for name in self.published]


class Monotonic:
    """Stands in for the machine's monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(keys_module, "time", clock)
    return clock


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(START)


@pytest.fixture
def verifier(owner: Owner, clock: FixedClock) -> TokenVerifier:
    return TokenVerifier(KeySet(owner), clock)


def claims(**changes: object) -> dict[str, Any]:
    now = int(START.timestamp())
    said: dict[str, Any] = {
        "iss": "berth",
        "aud": "berth",
        "sub": USER,
        "ten": TENANT,
        "sid": "ses_1",
        "scope": "bookings.read bookings.create",
        "vnd": ["vnd_1"],
        "iat": now,
        "exp": now + 300,
        "jti": "jti_1",
    }
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


def sign(owner: Owner, said: dict[str, Any], *, key_id: str = "ed", algorithm: str = "EdDSA", **header: object) -> str:
    key: Any = owner.edwards if algorithm == "EdDSA" else owner.elliptic
    return jwt.encode(said, key, algorithm=algorithm, headers={"kid": key_id, **header})


@pytest.mark.parametrize(("key_id", "algorithm"), [("ed", "EdDSA"), ("es", "ES256")])
async def test_a_good_token_names_a_person(verifier: TokenVerifier, owner: Owner, key_id: str, algorithm: str) -> None:
    principal = await verifier.verify(sign(owner, claims(), key_id=key_id, algorithm=algorithm))
    assert (principal.kind, principal.subject, principal.tenant_id) == ("user", USER, TENANT)
    assert principal.permissions == {"bookings.read", "bookings.create"}
    assert principal.vendor_ids == {"vnd_1"}
    assert principal.session_id == "ses_1"


async def test_a_token_lives_until_its_end_and_a_little_longer_inside_the_mesh(
    verifier: TokenVerifier, owner: Owner, clock: FixedClock
) -> None:
    token = sign(owner, claims())
    clock.advance(timedelta(seconds=299))
    await verifier.verify(token)
    clock.advance(timedelta(seconds=1))
    with pytest.raises(TokenInvalid):
        await verifier.verify(token)
    await verifier.verify(token, handed_on=True)
    clock.advance(timedelta(seconds=60))
    with pytest.raises(TokenInvalid):
        await verifier.verify(token, handed_on=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": None},
        {"iat": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": float("inf")},
        {"iat": int(START.timestamp()) + 60},
        {"sub": None},
        {"sub": ""},
        {"ten": None},
        {"ten": "demo"},
        {"ten": 7},
        {"sid": None},
        {"scope": ["bookings.read"]},
        {"vnd": "vnd_1"},
        {"vnd": [1]},
    ],
    ids=str,
)
async def test_claims_that_are_not_right(verifier: TokenVerifier, owner: Owner, changes: dict[str, object]) -> None:
    try:
        token = sign(owner, claims(**changes))
    except (TypeError, ValueError):
        token = hand_made(owner, claims(**changes))
    with pytest.raises(TokenInvalid):
        await verifier.verify(token)


async def test_a_service_whose_clock_lags_believes_what_another_has_judged(
    verifier: TokenVerifier, owner: Owner, clock: FixedClock
) -> None:
    token = sign(owner, claims())
    clock.advance(timedelta(minutes=-10))
    assert (await verifier.verify(token, handed_on=True)).subject == USER
    with pytest.raises(TokenInvalid):
        await verifier.verify(token)


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def hand_made(owner: Owner, said: dict[str, Any], **header: object) -> str:
    """A token as the library would not make it."""
    head = encoded(json.dumps({"typ": "JWT", "alg": "EdDSA", "kid": "ed", **header}).encode())
    body = encoded(json.dumps(said).encode())
    return f"{head}.{body}.{encoded(owner.edwards.sign(f'{head}.{body}'.encode()))}"


async def test_the_hand_made_token_is_good_but_for_what_each_test_changes(
    verifier: TokenVerifier, owner: Owner
) -> None:
    await verifier.verify(hand_made(owner, claims()))


async def test_no_algorithm_at_all(verifier: TokenVerifier) -> None:
    for algorithm in ("none", "None", "NONE", ""):
        head = encoded(json.dumps({"alg": algorithm, "kid": "ed"}).encode())
        for signature in ("", "eA"):
            with pytest.raises(TokenInvalid):
                await verifier.verify(f"{head}.{encoded(json.dumps(claims()).encode())}.{signature}")


async def test_a_public_key_is_no_shared_secret(verifier: TokenVerifier, owner: Owner) -> None:
    secrets = (
        owner.edwards.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        owner.edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
    )
    for secret in secrets:
        head = encoded(json.dumps({"alg": "HS256", "kid": "ed"}).encode())
        body = encoded(json.dumps(claims()).encode())
        signature = encoded(hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest())
        with pytest.raises(TokenInvalid):
            await verifier.verify(f"{head}.{body}.{signature}")


async def test_a_key_signs_by_its_own_algorithm_only(verifier: TokenVerifier, owner: Owner) -> None:
    with pytest.raises(TokenInvalid):
        await verifier.verify(sign(owner, claims(), key_id="es"))


@pytest.mark.parametrize(
    "header", [{"kid": None}, {"kid": 7}, {"kid": "nobody"}, {"crit": ["x"], "x": 1}, {"alg": "ES256"}]
)
async def test_headers_that_are_not_right(verifier: TokenVerifier, owner: Owner, header: dict[str, object]) -> None:
    with pytest.raises(TokenInvalid):
        await verifier.verify(hand_made(owner, claims(), **header))


async def test_a_token_that_was_changed(verifier: TokenVerifier, owner: Owner) -> None:
    head, _, signature = sign(owner, claims()).split(".")
    with pytest.raises(TokenInvalid):
        await verifier.verify(f"{head}.{encoded(json.dumps(claims(scope='everything')).encode())}.{signature}")


async def test_anothers_signature(verifier: TokenVerifier) -> None:
    with pytest.raises(TokenInvalid):
        await verifier.verify(sign(Owner(), claims()))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "a b.c.d", "x" * 10_000, "\ud800.a.b"]
)
async def test_what_is_no_token(verifier: TokenVerifier, text: str) -> None:
    with pytest.raises(TokenInvalid):
        await verifier.verify(text)


async def test_a_refusal_does_not_say_what_was_wrong(verifier: TokenVerifier, owner: Owner) -> None:
    messages = set()
    for token in ("x", sign(owner, claims(aud="another")), sign(Owner(), claims()), sign(owner, claims(exp=1))):
        with pytest.raises(TokenInvalid) as caught:
            await verifier.verify(token)
        messages.add(caught.value.message)
    assert len(messages) == 1


async def test_a_signature_is_checked_once(
    verifier: TokenVerifier, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sign(owner, claims())
    first = await verifier.verify(token)

    def fails(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(jwt, "decode", fails)
    assert await verifier.verify(token) is first


async def test_unknown_keys_are_asked_for_now_and_then_only(
    owner: Owner, clock: FixedClock, monotonic: Monotonic
) -> None:
    owner.published = ["ed"]
    verifier = TokenVerifier(KeySet(owner), clock)
    await verifier.verify(sign(owner, claims()))
    assert owner.fetches == 1
    unknown = sign(owner, claims(), key_id="es", algorithm="ES256")
    monotonic.now += keys_module.UNKNOWN_KEY_SECONDS
    for _ in range(5):
        with pytest.raises(TokenInvalid):
            await verifier.verify(unknown)
    assert owner.fetches == 2
    owner.published = ["ed", "es"]  # it was rotated
    monotonic.now += keys_module.UNKNOWN_KEY_SECONDS
    await verifier.verify(unknown)
    assert owner.fetches == 3


async def test_keys_outlive_their_owner(owner: Owner, clock: FixedClock, tmp_path: Path, monotonic: Monotonic) -> None:
    persisted = tmp_path / "jwks.json"
    first = KeySet(owner, persisted)
    await first.refresh()
    assert "d" not in json.loads(persisted.read_text())["keys"][0]  # the private half
    owner.out = True
    await TokenVerifier(first, clock).verify(sign(owner, claims()))
    await TokenVerifier(KeySet(owner, persisted), clock).verify(sign(owner, claims(), key_id="es", algorithm="ES256"))
    assert [path.name for path in await asyncio.to_thread(lambda: list(tmp_path.iterdir()))] == [persisted.name]


async def test_without_any_key_the_dependency_is_out_and_the_token_not_wrong(owner: Owner, clock: FixedClock) -> None:
    owner.out = True
    with pytest.raises(DependencyUnavailable):
        await TokenVerifier(KeySet(owner), clock).verify(sign(owner, claims()))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"keys": 1}', '{"keys": [{"kid": "x", "alg": "EdDSA"}]}', "\x00"])
async def test_a_persisted_set_that_is_none_is_left_aside(
    owner: Owner, clock: FixedClock, tmp_path: Path, text: str
) -> None:
    persisted = tmp_path / "jwks.json"
    persisted.write_text(text)
    await TokenVerifier(KeySet(owner, persisted), clock).verify(sign(owner, claims()))


async def test_an_empty_set_does_not_take_the_keys_away(owner: Owner, clock: FixedClock) -> None:
    keys = KeySet(owner)
    await keys.refresh()
    owner.published = []
    await keys.refresh()
    await TokenVerifier(keys, clock).verify(sign(owner, claims()))
