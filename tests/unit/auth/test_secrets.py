"""What the master key protects: sealed for one row, compared only with the key, signed by the key whose turn it is."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta

import jwt
import pytest
from cryptography.exceptions import InvalidTag
from jwt import PyJWK

from services.auth.domain.keys import SigningKey
from services.auth.domain.sessions import AccessClaims
from services.auth.store.passwords import MAX_WAITING, Argon2Passwords
from services.auth.store.secrets import MasterSecrets, Sealer
from services.auth.store.signing import RELOAD_AFTER, Ed25519KeyMaker, JwtSigner
from services.auth.wire import jwk_message
from services.chassis.clock import FixedClock
from services.chassis.errors import DependencyUnavailable, Overloaded
from tests.ports.auth.fakes import MASTER_KEY, START

CLAIMS = AccessClaims(
    token_id="ses_1.1",
    user_id="usr_1",
    tenant_id="ten_1",
    session_id="ses_1",
    permissions=("bookings.create", "bookings.read"),
    vendor_ids=("vnd_1",),
    issue_time=START,
    expire_time=START + timedelta(minutes=5),
)


def test_sealed_values_open_for_their_row_purpose_and_master_key_only() -> None:
    sealer = Sealer(MASTER_KEY, "otp")
    sealed = sealer.seal("otp_1", b"123456")
    assert sealer.open("otp_1", sealed) == b"123456"
    assert sealer.seal("otp_1", b"123456") != sealed, "each under a nonce of its own"
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for other, row, value in [
        (sealer, "otp_2", sealed),
        (Sealer(MASTER_KEY, "signing key"), "otp_1", sealed),
        (Sealer(bytes(32), "otp"), "otp_1", sealed),
        (sealer, "otp_1", flipped),
    ]:
        with pytest.raises(InvalidTag):
            other.open(row, value)


def test_digests_depend_on_everything() -> None:
    secrets, others = MasterSecrets(MASTER_KEY), MasterSecrets(bytes(32))
    digest = secrets.otp_digest("otp_1", "123456")
    assert digest == secrets.otp_digest("otp_1", "123456")
    assert digest not in {
        secrets.otp_digest("otp_2", "123456"),
        secrets.otp_digest("otp_1", "123457"),
        others.otp_digest("otp_1", "123456"),
        secrets.otp_digest("otp_11", "23456"),
    }
    assert secrets.subject("ten_1", "a@example.com") != secrets.subject("ten_2", "a@example.com")
    assert "example" not in secrets.subject("ten_1", "a@example.com")


def test_codes_are_six_digits_of_every_kind() -> None:
    secrets = MasterSecrets(MASTER_KEY)
    codes = [secrets.draw_otp() for _ in range(2_000)]
    assert all(len(code) == 6 and code.isdecimal() for code in codes)
    assert {code[0] for code in codes} == set("0123456789")


async def test_passwords_are_verified_and_dated() -> None:
    passwords = Argon2Passwords(time_cost=1, memory_kib=64, threads=1)
    stronger = Argon2Passwords(time_cost=2, memory_kib=64, threads=1)
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$")
    assert await passwords.verify(hashed, "correct horse")
    assert not await passwords.verify(hashed, "correct hörse")
    assert not await passwords.verify(None, "nobody has this password")
    assert not await passwords.verify("no hash at all", "x")
    assert not passwords.is_dated(hashed)
    assert stronger.is_dated(hashed)
    assert await stronger.verify(hashed, "correct horse")


async def test_the_event_loop_lives_while_passwords_are_hashed() -> None:
    passwords = Argon2Passwords(time_cost=8, memory_kib=19_456, threads=1)
    hashing = asyncio.ensure_future(passwords.hash("correct horse"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10


async def test_too_many_passwords_at_once_are_refused() -> None:
    passwords = Argon2Passwords(time_cost=1, memory_kib=64, threads=1)
    asked = [passwords.hash("correct horse") for _ in range(MAX_WAITING + 5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Overloaded) == 4
    assert await passwords.hash("correct horse"), "and when they are through it goes on"


async def test_tokens_are_signed_by_the_key_whose_turn_it_is() -> None:
    sealer, clock = Sealer(MASTER_KEY, "signing key"), FixedClock(START)
    maker = Ed25519KeyMaker(sealer)
    keys: list[SigningKey] = [maker.make(START, START), maker.make(START, START + timedelta(hours=1))]
    loads = 0

    async def load() -> list[SigningKey]:
        nonlocal loads
        loads += 1
        return keys

    signer = JwtSigner(load, sealer, clock)
    token = await signer.sign(CLAIMS)
    assert await signer.sign(CLAIMS) == token
    assert loads == 1
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": keys[0].key_id, "typ": "JWT"}
    jwk = {field.name: value for field, value in jwk_message(keys[0]).ListFields()}
    said = jwt.decode(token, PyJWK(jwk), algorithms=["EdDSA"], audience="berth", options={"verify_exp": False})
    assert said == {
        "iss": "berth",
        "aud": "berth",
        "sub": "usr_1",
        "ten": "ten_1",
        "sid": "ses_1",
        "scope": "bookings.create bookings.read",
        "vnd": ["vnd_1"],
        "iat": int(START.timestamp()),
        "exp": int(START.timestamp()) + 300,
        "jti": "ses_1.1",
    }
    clock.advance(timedelta(hours=1))
    assert jwt.get_unverified_header(await signer.sign(CLAIMS))["kid"] == keys[1].key_id
    assert loads == 2


async def test_new_keys_are_learned_and_none_is_an_outage() -> None:
    sealer, clock = Sealer(MASTER_KEY, "signing key"), FixedClock(START)
    keys: list[SigningKey] = []

    async def load() -> list[SigningKey]:
        return list(keys)

    signer = JwtSigner(load, sealer, clock)
    with pytest.raises(DependencyUnavailable):
        await signer.sign(CLAIMS)
    for _ in range(2):
        keys.append(Ed25519KeyMaker(sealer).make(clock.now(), clock.now()))
        clock.advance(RELOAD_AFTER)
        assert jwt.get_unverified_header(await signer.sign(CLAIMS))["kid"] == keys[-1].key_id


def test_a_made_key_stores_no_readable_private_half() -> None:
    key = Ed25519KeyMaker(Sealer(MASTER_KEY, "signing key")).make(START, START)
    private = Sealer(MASTER_KEY, "signing key").open(key.key_id, key.sealed)
    assert private not in key.sealed
    assert len(base64.urlsafe_b64decode(key.public + "=")) == 32
