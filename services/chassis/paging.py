"""Pages of lists: sizes coerced to their limits, tokens opaque and bound to the arguments they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping

from services.chassis.errors import InvalidField, PageTokenInvalid, Violation

MAX_TOKEN_LENGTH = 1_024  # characters
_DIGEST_BYTES = 12

Cursor = Mapping[str, str | int | None]


def page_size(requested: int, *, default: int, maximum: int) -> int:
    """The size a list uses: 0 means the default, more than the maximum means the maximum, a negative one is refused."""
    if requested < 0:
        raise InvalidField(violations=(Violation("page_size", "must not be negative", "int32.gte"),))
    return min(requested or default, maximum)


def encode(cursor: Cursor, arguments: bytes) -> str:
    """A token that continues after `cursor`, good for a list with the same `arguments` only.

    It says where to go on and nothing about who may: the list checks its caller anew on each page.
    """
    payload = json.dumps(dict(cursor), separators=(",", ":"), sort_keys=True).encode()
    return base64.urlsafe_b64encode(_digest(payload, arguments) + payload).rstrip(b"=").decode()


def decode(token: str, arguments: bytes) -> Cursor:
    """The cursor inside a token; raises PageTokenInvalid for one that is not ours or belongs to other arguments."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise PageTokenInvalid
    try:
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise PageTokenInvalid from error
    digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if not hmac.compare_digest(digest, _digest(payload, arguments)):
        raise PageTokenInvalid
    try:
        cursor = json.loads(payload)
    except ValueError as error:
        raise PageTokenInvalid from error
    if not isinstance(cursor, dict):
        raise PageTokenInvalid
    return cursor


def _digest(payload: bytes, arguments: bytes) -> bytes:
    # No secret: the digest catches damage and mixed-up arguments, and the token grants nothing worth forging.
    inner = hashlib.sha256(arguments).digest()
    return hashlib.sha256(b"berth page token 1\0" + inner + payload).digest()[:_DIGEST_BYTES]
