"""Errors on the wire: refusals become a rich google.rpc.Status, and a dependency's status becomes a RemoteError."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import DeadlineExceeded, DependencyUnavailable, Refusal, Violation
from services.chassis.rpc.policy import ReasonPolicy

DOMAIN = "berth.dev"
DETAILS_KEY = "grpc-status-details-bin"
INTERNAL_MESSAGE = "Something went wrong on our side; the request id finds it in our log."
RETRY_AFTER = timedelta(seconds=1)  # where the refusal does not know better
MAX_VIOLATIONS = 50  # a request with more errors has been told enough; trailers are limited

_PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_UNDERSCORE = re.compile(r"_([a-z0-9])")

logger = logging.getLogger(__name__)


class RemoteError(Exception):
    """A call to another service failed; adapters translate it by its reason."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        *,
        method: str = "",
        retry_after: timedelta | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.method = method
        self.retry_after = retry_after
        self.violations = violations
        super().__init__(f"{method} answered {code.name} {reason}: {message}")


def remote_error(error: grpc.aio.AioRpcError, method: str) -> RemoteError:
    """What a failed call said, in our words."""
    reason, metadata, retry_after = "", {}, None
    violations: list[Violation] = []
    for detail in _details_of(error):
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta()
        elif detail.Unpack(bad):
            violations = [Violation(found.field, found.description, found.reason) for found in bad.field_violations]
    return RemoteError(
        error.code(),
        reason,
        error.details() or "",
        metadata,
        method=method,
        retry_after=retry_after,
        violations=tuple(violations),
    )


def refusal_of(error: RemoteError) -> Refusal | None:
    """What our caller is told when a dependency's refusal was not translated; None where it is a fault of ours."""
    if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded()
    if error.code in _PASSING:
        return DependencyUnavailable(retry_after=error.retry_after)
    return None


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it is sent."""

    code: grpc.StatusCode
    reason: str
    status: status_pb2.Status
    retry_after: timedelta | None


def wire_error(
    refusal: Refusal, reasons: Mapping[str, ReasonPolicy], request_id: str, *, strict: bool = False
) -> WireError:
    """A refusal with everything that its reason's contract promises.

    A reason that the contract does not know, or other metadata keys than it documents, are a bug: logged, and with
    `strict` answered as INTERNAL so that a developer sees it at once.
    """
    policy = reasons.get(refusal.reason)
    if policy is None or frozenset(refusal.metadata) != policy.metadata:
        logger.error(
            "refusal does not match its contract",
            extra={"reason": refusal.reason, "metadata_keys": sorted(refusal.metadata), "request_id": request_id},
        )
        if policy is None or strict:
            return internal_error(request_id)
    code = grpc.StatusCode[policy.code]
    info = error_details_pb2.ErrorInfo(reason=refusal.reason, domain=DOMAIN, metadata=refusal.metadata)
    details: list[Message] = [info]
    if refusal.violations:
        details.append(_bad_request(refusal.violations))
    retry_after = refusal.retry_after or (RETRY_AFTER if code in _PASSING else None)
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(retry_after)
        details.append(retry)
    return WireError(code, refusal.reason, _status(code, refusal.message, details, request_id), retry_after)


def internal_error(request_id: str) -> WireError:
    """What a caller is told of a fault of ours: nothing but where we find the rest."""
    info = error_details_pb2.ErrorInfo(reason="INTERNAL", domain=DOMAIN)
    status = _status(grpc.StatusCode.INTERNAL, INTERNAL_MESSAGE, [info], request_id)
    return WireError(grpc.StatusCode.INTERNAL, "INTERNAL", status, None)


def _status(code: grpc.StatusCode, message: str, details: list[Message], request_id: str) -> status_pb2.Status:
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message)
    for detail in (*details, error_details_pb2.RequestInfo(request_id=request_id)):
        status.details.add().Pack(detail)
    return status


def _bad_request(violations: Iterable[Violation]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for violation in islice(violations, MAX_VIOLATIONS):
        bad.field_violations.add(
            field=json_path(violation.field), description=violation.description, reason=violation.rule
        )
    return bad


def json_path(path: str) -> str:
    """A field's path as JSON writes it: `user_details.first_name` is `userDetails.firstName`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), path)


def _details_of(error: grpc.aio.AioRpcError) -> Iterable[any_pb2.Any]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []
