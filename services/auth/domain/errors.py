"""Why auth refuses, beyond the reasons that every service shares; one class for each reason of its contract."""

from __future__ import annotations

from services.chassis.errors import Refusal


class CredentialsInvalid(Refusal):
    """The e-mail address and the password do not belong together."""

    reason = "CREDENTIALS_INVALID"


class EmailNotVerified(Refusal):
    """The e-mail address is not verified yet: enter the code that was mailed, or ask for another."""

    reason = "EMAIL_NOT_VERIFIED"


class OtpInvalid(Refusal):
    """The code is wrong, was used, was replaced by a newer one or has expired."""

    reason = "OTP_INVALID"


class TooManyAttempts(Refusal):
    """Too many attempts: wait a while."""

    reason = "TOO_MANY_ATTEMPTS"


class RefreshTokenInvalid(Refusal):
    """The refresh token is unknown, has expired, or its session has ended."""

    reason = "REFRESH_TOKEN_INVALID"


class RefreshTokenReused(Refusal):
    """The refresh token was used before, so its session has been ended: log in again."""

    reason = "REFRESH_TOKEN_REUSED"


class AccountSuspended(Refusal):
    """The account is suspended."""

    reason = "ACCOUNT_SUSPENDED"


class TenantExists(Refusal):
    """A tenant with this slug exists."""

    reason = "TENANT_EXISTS"


class PasswordTooWeak(Refusal):
    """The password is among the first that anybody would try: choose another."""

    reason = "PASSWORD_TOO_WEAK"
