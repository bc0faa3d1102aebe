"""Tokens that must not be believed, the genuine key's own among them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.auth.__main__ import SIGNING_KEY
from services.auth.store.secrets import Sealer
from tests.mesh import Mesh


def signing_key(mesh: Mesh) -> tuple[str, Ed25519PrivateKey]:
    """The key that auth signs with now, opened as only its master key can."""
    with psycopg.connect(mesh.superuser_url("auth")) as connection:
        row = connection.execute(
            "SELECT key_id, sealed FROM signing_keys WHERE sign_time <= now() ORDER BY sign_time DESC LIMIT 1"
        ).fetchone()
    assert row is not None
    sealer = Sealer(base64.b64decode(mesh.secrets["BERTH_MASTER_KEY"]), SIGNING_KEY)
    return row[0], Ed25519PrivateKey.from_private_bytes(sealer.open(row[0], bytes(row[1])))


def forgeries(mesh: Mesh, genuine: Mapping[str, Any]) -> dict[str, str]:
    """Tokens that say what a genuine one says, each wrong in one way."""
    key_id, key = signing_key(mesh)
    now = int(time.time())
    claims = {**genuine, "iat": now, "exp": now + 300}
    public = key.public_key()
    raw, pem = public.public_bytes_raw(), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signed(*, by: Ed25519PrivateKey = key, kid: str = key_id, **changes: Any) -> str:
        return jwt.encode(claims | changes, by, "EdDSA", headers={"kid": kid})

    def hmac_signed(secret: bytes) -> str:
        # By hand: the library refuses to take a public key for a secret, attackers do not.
        head = _part({"alg": "HS256", "typ": "JWT", "kid": key_id})
        unsigned = f"{head}.{_part(claims)}"
        algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        return f"{unsigned}.{_encoded(algorithm.sign(unsigned.encode(), secret))}"

    good = signed()
    head, body, signature = good.split(".")
    raised = _part({**claims, "scope": f"{claims['scope']} tenants.manage"})
    return {
        "expired": signed(iat=now - 400, exp=now - 100),
        "of the future": signed(iat=now + 600, exp=now + 900),
        "alg none": f"{_part({'alg': 'none', 'typ': 'JWT', 'kid': key_id})}.{body}.",
        "HS256 with the public key": hmac_signed(raw),
        "HS256 with the public key's PEM": hmac_signed(pem),
        "other audience": signed(aud="other"),
        "other issuer": signed(iss="other"),
        "unknown kid": signed(kid="key_unknown"),
        "other key": signed(by=Ed25519PrivateKey.generate()),
        "raised permissions": f"{head}.{raised}.{signature}",
        "no token": "abc",
    }


def _part(content: Mapping[str, Any]) -> str:
    return _encoded(json.dumps(content, separators=(",", ":")).encode())


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
