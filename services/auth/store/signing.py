"""Makes the Ed25519 keys that access tokens are signed with, and signs with the one whose turn it is."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.auth.domain.keys import SigningKey, signing
from services.auth.domain.sessions import AccessClaims
from services.auth.store.secrets import Sealer
from services.chassis.clock import Clock
from services.chassis.errors import DependencyUnavailable
from services.chassis.ids import new_id
from services.chassis.tokens.verify import AUDIENCE, ISSUER

ALGORITHM: Final = "EdDSA"
# Far shorter than a key waits before it signs: every process knows it in time.
RELOAD_AFTER: Final = timedelta(seconds=30)


class Ed25519KeyMaker:
    """The key-maker port."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def make(self, now: datetime, sign_time: datetime) -> SigningKey:
        """A new key pair."""
        private = Ed25519PrivateKey.generate()
        key_id = new_id("key", at=now)
        public = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).rstrip(b"=").decode()
        return SigningKey(
            key_id=key_id,
            public=public,
            sealed=self._sealer.seal(key_id, private.private_bytes_raw()),
            create_time=now,
            sign_time=sign_time,
        )


class JwtSigner:
    """The signer port: JSON Web Tokens, the keys read from the database now and then."""

    def __init__(self, load: Callable[[], Awaitable[list[SigningKey]]], sealer: Sealer, clock: Clock) -> None:
        self._load = load
        self._sealer = sealer
        self._clock = clock
        self._keys: list[SigningKey] = []
        self._opened: dict[str, Ed25519PrivateKey] = {}
        self._loaded_at: datetime | None = None

    async def sign(self, claims: AccessClaims) -> str:
        """The token."""
        key = await self._current()
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": claims.user_id,
                "ten": claims.tenant_id,
                "sid": claims.session_id,
                "scope": " ".join(claims.permissions),
                "vnd": list(claims.vendor_ids),
                "iat": int(claims.issue_time.timestamp()),
                "exp": int(claims.expire_time.timestamp()),
                "jti": claims.token_id,
            },
            self._private(key),
            algorithm=ALGORITHM,
            headers={"kid": key.key_id},
        )

    async def _current(self) -> SigningKey:
        now = self._clock.now()
        if self._loaded_at is None or not self._keys or now - self._loaded_at >= RELOAD_AFTER:
            self._keys = await self._load()
            self._loaded_at = now
            known = {key.key_id for key in self._keys}
            self._opened = {key_id: private for key_id, private in self._opened.items() if key_id in known}
        key = signing(self._keys, now)
        if key is None:
            raise DependencyUnavailable("There is no signing key yet.", retry_after=timedelta(seconds=1))
        return key

    def _private(self, key: SigningKey) -> Ed25519PrivateKey:
        private = self._opened.get(key.key_id)
        if private is None:
            private = Ed25519PrivateKey.from_private_bytes(self._sealer.open(key.key_id, key.sealed))
            self._opened[key.key_id] = private
        return private
