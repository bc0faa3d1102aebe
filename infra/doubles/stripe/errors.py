"""Owns the provider's errors: their JSON, their HTTP status, and whether the call counts as carried out."""

from typing import Any


class ApiError(Exception):
    """An answer in the provider's documented error shape.

    `executed` says that the operation had begun: its effects stay and an idempotency key replays the error. Refused
    parameters are not executed, so the same key may be sent again with better ones.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        executed: bool = False,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.headers = headers or {}
        self.fields: dict[str, Any] = {"message": message, "type": kind}
        if code is not None:
            self.fields["code"] = code
            self.fields["doc_url"] = f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
        if param is not None:
            self.fields["param"] = param
        self.fields.update(extra)

    def body(self) -> dict[str, Any]:
        return {"error": self.fields}


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> ApiError:
    return ApiError(400, "invalid_request_error", message, code=code, param=param)


def missing_param(param: str) -> ApiError:
    return invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)


def no_such(kind: str, object_id: str, *, param: str = "id", in_path: bool = False) -> ApiError:
    message = f"No such {kind}: '{object_id}'"
    return ApiError(404 if in_path else 400, "invalid_request_error", message, code="resource_missing", param=param)


def unauthorized(message: str) -> ApiError:
    return ApiError(401, "invalid_request_error", message)


def unknown_url(method: str, path: str) -> ApiError:
    return ApiError(404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).")


def other_parameters(key: str) -> ApiError:
    return ApiError(
        400,
        "idempotency_error",
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
    )


def other_endpoint(key: str, first: str, now: str) -> ApiError:
    return ApiError(
        400,
        "idempotency_error",
        f"Keys for idempotent requests can only be used for the same endpoint they were first used for ('{now}' vs "
        f"'{first}'). Try using a key other than '{key}' if you meant to execute a different request.",
    )


def key_in_use(key: str) -> ApiError:
    return ApiError(
        409,
        "idempotency_error",
        f"There is currently another in-progress request using this Idempotent Key: {key}.",
        code="idempotency_key_in_use",
        headers={"Stripe-Should-Retry": "true"},
    )


def lock_conflict() -> ApiError:
    return ApiError(
        409,
        "invalid_request_error",
        "This object cannot be accessed right now because another API request is currently accessing it.",
        code="lock_timeout",
        headers={"Stripe-Should-Retry": "true"},
    )


def rate_limited() -> ApiError:
    return ApiError(
        429,
        "invalid_request_error",
        "Request rate limit exceeded.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": "global-rate"},
    )


def server_error(*, should_retry: bool) -> ApiError:
    return ApiError(
        500,
        "api_error",
        "An unknown error occurred.",
        headers={"Stripe-Should-Retry": "true" if should_retry else "false"},
    )
