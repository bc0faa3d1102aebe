"""Refusals: the one kind of error that a caller is meant to see, and the reasons that every service shares."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from datetime import timedelta
from typing import ClassVar, NamedTuple


class Violation(NamedTuple):
    """One thing wrong with one field of a request."""

    field: str  # path as the contract names it, e.g. `user_details.email`; the boundary writes it as JSON does
    description: str
    rule: str = ""  # machine-readable, e.g. `string.max_len`


class Refusal(Exception):
    """The call was refused."""

    # The name of a value of the service's ErrorReason, or of the shared one. What it means on the wire - status code
    # and metadata keys - is said there and only there.
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str = "",
        /,
        *,
        violations: Iterable[Violation] = (),
        retry_after: timedelta | None = None,
        **metadata: str,
    ) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "").partition("\n")[0]
        self.violations = tuple(violations)
        self.retry_after = retry_after
        self.metadata = metadata
        super().__init__(self.message)


class InvalidField(Refusal):
    """The request has invalid fields."""

    reason = "INVALID_FIELD"


class MalformedRequest(Refusal):
    """The request could not be read."""

    reason = "MALFORMED_REQUEST"


class TokenMissing(Refusal):
    """The method needs an access token."""

    reason = "TOKEN_MISSING"


class TokenInvalid(Refusal):
    """The access token is not valid."""

    reason = "TOKEN_INVALID"


class PermissionDenied(Refusal):
    """The caller lacks the permission."""

    reason = "PERMISSION_DENIED"


class CallerNotAllowed(Refusal):
    """The calling service may not call this method."""

    reason = "CALLER_NOT_ALLOWED"


class NotFound(Refusal):
    """There is no such object, or it is not yours."""

    reason = "NOT_FOUND"


class IdempotencyKeyInvalid(Refusal):
    """The idempotency key must be 1 to 255 visible ASCII characters."""

    reason = "IDEMPOTENCY_KEY_INVALID"


class IdempotencyKeyReused(Refusal):
    """The idempotency key was used before with another request."""

    reason = "IDEMPOTENCY_KEY_REUSED"


class IdempotencyInProgress(Refusal):
    """The first call with this idempotency key is still running."""

    reason = "IDEMPOTENCY_IN_PROGRESS"


class EtagMismatch(Refusal):
    """The object was changed since it was read."""

    reason = "ETAG_MISMATCH"


class PageTokenInvalid(Refusal):
    """The page token does not belong to this list."""

    reason = "PAGE_TOKEN_INVALID"


class UpdateMaskInvalid(Refusal):
    """The update mask names a field that cannot be changed."""

    reason = "UPDATE_MASK_INVALID"


class DeadlineTooShort(Refusal):
    """Too little time was left to begin."""

    reason = "DEADLINE_TOO_SHORT"


class DeadlineExceeded(Refusal):
    """The work did not end in time."""

    reason = "DEADLINE_EXCEEDED"


class Overloaded(Refusal):
    """The server has more calls than it can serve."""

    reason = "OVERLOADED"


class RateLimited(Refusal):
    """The caller has used up its rate."""

    reason = "RATE_LIMITED"


class Draining(Refusal):
    """The server is stopping."""

    reason = "DRAINING"


class DependencyUnavailable(Refusal):
    """Something this service depends on does not answer."""

    reason = "DEPENDENCY_UNAVAILABLE"


class TenantUnknown(Refusal):
    """There is no such tenant."""

    reason = "TENANT_UNKNOWN"


class MethodUnknown(Refusal):
    """There is no such method."""

    reason = "METHOD_UNKNOWN"
