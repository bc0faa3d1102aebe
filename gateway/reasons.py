"""The error reasons of the contracts: their code, their metadata, and which method promises which."""

import re
from dataclasses import dataclass

from gateway.comments import comments
from gateway.contract import PACKAGE, Contract, Method

SHARED = "type"
# How a gRPC code is answered over HTTP.
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One error reason."""

    owner: str
    name: str
    code: str
    metadata: tuple[str, ...]
    description: str


def reasons(contract: Contract) -> list[Reason]:
    """Every reason of every service and the shared ones, except the zeros that are never sent."""
    texts = comments(contract.files)
    found = []
    for file in contract.files.file:
        for enum in file.enum_type:
            if not file.package.startswith(PACKAGE) or enum.name != "ErrorReason":
                continue
            owner = file.package.removeprefix(PACKAGE).split(".")[0]
            for value in enum.value:
                if value.number == 0:
                    continue
                meaning = contract.option(value.options, "berth.options.v1.reason")
                reason = Reason(
                    owner=owner,
                    name=value.name,
                    code=meaning.code if meaning is not None else "",
                    metadata=tuple(meaning.metadata) if meaning is not None else (),
                    description=texts.get(f"{file.package}.ErrorReason.{value.name}", ""),
                )
                found.append(reason)
    return found


def errors_named(comment: str) -> list[str]:
    """The reasons that a method's comment promises in its `Errors: A, B when so.`"""
    _, _, promised = comment.partition("Errors:")
    return re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", promised)


def promised_by(method: Method, comment: str) -> list[str]:
    """Every reason that a method may answer: its own, and those that its policy brings."""
    policy = method.policy
    found = ["INVALID_FIELD", "MALFORMED_REQUEST"]
    if policy.access == "permission":
        found += ["TOKEN_MISSING", "TOKEN_INVALID", "PERMISSION_DENIED"]
    if policy.key_use != "KEY_USE_UNSPECIFIED":
        found += ["IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_PROGRESS"]
    if any("{" in binding.template for binding in method.bindings):
        found.append("NOT_FOUND")
    found += errors_named(comment)
    found += ["RATE_LIMITED", "OVERLOADED", "DRAINING", "DEPENDENCY_UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"]
    return list(dict.fromkeys(found))
