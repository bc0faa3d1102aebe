"""Seals, digests and draws: everything that the master key protects, each purpose under a key of its own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.auth.domain.sessions import Session

_NONCE_BYTES: Final = 12
_SALT_BYTES: Final = 16
_OTP_DIGITS: Final = 6


def _derived(master_key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"berth auth {purpose} 1".encode()).derive(master_key)


class Sealer:
    """Encrypts what is stored so that only this service, for this row and this purpose, can read it again."""

    def __init__(self, master_key: bytes, purpose: str) -> None:
        self._cipher = AESGCM(_derived(master_key, f"seal {purpose}"))

    def seal(self, row_id: str, plain: bytes) -> bytes:
        """Encrypt; the row's id is authenticated with it, so that a sealed value cannot be moved to another row."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, row_id.encode())

    def open(self, row_id: str, sealed: bytes) -> bytes:
        """Decrypt; raises InvalidTag for what another row, purpose or master key sealed."""
        return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], row_id.encode())


class MasterSecrets:
    """The secrets port over the master key."""

    def __init__(self, master_key: bytes) -> None:
        self._otps = Sealer(master_key, "otp")
        self._keys = {
            purpose: _derived(master_key, f"digest {purpose}") for purpose in ("otp", "refresh", "subject", "request")
        }

    def draw_otp(self) -> str:
        """Six random digits."""
        return f"{secrets.randbelow(10**_OTP_DIGITS):0{_OTP_DIGITS}d}"

    def draw_salt(self) -> bytes:
        """What makes a session's tokens its own."""
        return secrets.token_bytes(_SALT_BYTES)

    def otp_digest(self, challenge_id: str, otp: str) -> bytes:
        """Keyed, because a million codes are tried in no time."""
        return self._digest("otp", challenge_id.encode(), otp.encode())

    def seal_otp(self, challenge_id: str, otp: str) -> bytes:
        """The code, readable again for this challenge only."""
        return self._otps.seal(challenge_id, otp.encode())

    def open_otp(self, challenge_id: str, sealed: bytes) -> str:
        """The code again."""
        return self._otps.open(challenge_id, sealed).decode()

    def refresh_proof(self, session: Session, generation: int) -> str:
        """Derived from the session: nothing stored is a token, and a lost answer can be given again."""
        digest = self._digest("refresh", session.session_id.encode(), session.salt, str(generation).encode())
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def subject(self, tenant_id: str, email_key: str) -> str:
        """An address as attempts are counted by."""
        return self._digest("subject", tenant_id.encode(), email_key.encode()).hex()[:32]

    def blinded(self, digest: bytes) -> bytes:
        """A digest of a request that holds a password, so that nobody can try passwords against it."""
        return self._digest("request", digest)

    def _digest(self, purpose: str, *parts: bytes) -> bytes:
        # Lengths in front: no two lists of parts have the same text.
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self._keys[purpose], message, hashlib.sha256).digest()
