"""Believes an access token, or does not: EdDSA and ES256 signatures by known keys, our issuer and audience, in time."""

from __future__ import annotations

import hashlib
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jwt

from services.chassis.clock import Clock
from services.chassis.errors import TokenInvalid
from services.chassis.ids import is_id
from services.chassis.principal import Principal
from services.chassis.tokens.keys import ALGORITHMS, KeySet

ISSUER = "berth"
AUDIENCE = "berth"
MAX_LENGTH = 8_192  # characters
MAX_REMEMBERED = 20_000  # tokens
SKEW_SECONDS = 5.0  # how far the issuer's clock may be ahead of ours
HANDED_ON_SECONDS = 60.0  # a service passes on a token that was good when its own call began

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_REQUIRED = ["iss", "aud", "sub", "ten", "sid", "iat", "exp"]


@dataclass(frozen=True, slots=True)
class _Verified:
    principal: Principal
    issued_at: float
    expires_at: float


class TokenVerifier:
    """Verifies tokens and remembers the good ones until their end: a signature costs as much as the rest of a call."""

    def __init__(self, keys: KeySet, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()

    async def verify(self, token: str, *, handed_on: bool = False) -> Principal:
        """The person that the token names; raises TokenInvalid, which never says what exactly is wrong.

        `handed_on` tells that a service of ours passes it on, so that a call that began in time can be finished;
        whether it was issued yet has been judged there, and a second clock that lags adds nothing to that.
        """
        if len(token) > MAX_LENGTH:
            raise TokenInvalid
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        verified = self._remembered.get(digest)
        if verified is None:
            verified = await self._verify(token)
            self._remember(digest, verified)
        now = self._clock.now().timestamp()
        if now >= verified.expires_at + (HANDED_ON_SECONDS if handed_on else 0.0):
            raise TokenInvalid
        if verified.issued_at > now + SKEW_SECONDS and not handed_on:
            raise TokenInvalid
        return verified.principal

    async def _verify(self, token: str) -> _Verified:
        if not _SHAPE.fullmatch(token):
            raise TokenInvalid
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise TokenInvalid from error
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or not isinstance(key_id, str) or "crit" in header:
            raise TokenInvalid
        key = await self._keys.find(key_id)
        if key is None or key.algorithm_name != algorithm:
            raise TokenInvalid
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=AUDIENCE,
                issuer=ISSUER,
                # Times are compared here, by the injected clock.
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.PyJWTError as error:
            raise TokenInvalid from error
        return self._read(claims)

    def _read(self, claims: dict[str, Any]) -> _Verified:
        expires_at, issued_at = claims["exp"], claims["iat"]
        subject, tenant_id, session_id = claims["sub"], claims["ten"], claims["sid"]
        scope, vendor_ids = claims.get("scope", ""), claims.get("vnd", [])
        texts = (subject, tenant_id, session_id, scope)
        if not all(isinstance(text, str) for text in texts) or not _are_times(expires_at, issued_at):
            raise TokenInvalid
        if not isinstance(vendor_ids, list) or not all(isinstance(vendor_id, str) for vendor_id in vendor_ids):
            raise TokenInvalid
        if not subject or not is_id("ten", tenant_id):
            raise TokenInvalid
        principal = Principal(
            kind="user",
            tenant_id=tenant_id,
            subject=subject,
            permissions=frozenset(scope.split()),
            vendor_ids=frozenset(vendor_ids),
            session_id=session_id,
        )
        return _Verified(principal, float(issued_at), float(expires_at))

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._remembered[digest] = verified
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)


def _are_times(*values: object) -> bool:
    return all(type(value) in {int, float} and math.isfinite(value) for value in values)  # type: ignore[arg-type]  # numbers, by the first half
