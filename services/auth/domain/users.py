"""People: their profile, what makes it change, and what their passwords must not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.auth.domain.errors import AccountSuspended, EmailNotVerified, PasswordTooWeak
from services.auth.domain.roles import Role
from services.chassis.errors import EtagMismatch, InvalidField, UpdateMaskInvalid, Violation

DEFAULT_LOCALE: Final = "en"
MUTABLE: Final = ("first_name", "last_name", "phone", "locale")

# The ones of ten characters and more that lists of leaked passwords begin with.
_LEAKED: Final = frozenset(
    """
    0000000000 0123456789 0987654321 1111111111 1122334455 1212121212 123123123123 1234512345 123456123456
    1234567890 12345678900 12345678910 1234567891 123456789a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc 5555555555 6666666666
    7777777777 987654321a 9876543210 aaaaaaaaaa abcd123456 abcdefghij admin12345 administrator adminadmin asdfghjkl1
    asdfghjkl; basketball changeme123 computer123 football123 iloveyou12 iloveyou123 letmein123 liverpool1 manchester
    michael123 password01 password1! password10 password11 password12 password123 password1234 password12345
    passw0rd123 passwordpassword princess123 q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedcrfv qwerty1234 qwerty12345 qwerty123456
    qwertyuiop qwertyuiop123 sunshine123 superman123 trustno1234 unknown123 welcome123 welcome1234 zaq12wsxcde3
    zxcvbnm123 zxcvbnm,./
    """.split()  # noqa: SIM905 - seventy words in quotes are harder to read
)


class UserStatus(StrEnum):
    """Where an account stands."""

    UNVERIFIED = "UNVERIFIED"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a person says of themselves."""

    email: str
    first_name: str
    last_name: str
    phone: str = ""
    locale: str = DEFAULT_LOCALE


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person, within one tenant."""

    user_id: str
    tenant_id: str
    profile: Profile
    status: UserStatus
    roles: tuple[Role, ...]
    create_time: datetime
    update_time: datetime
    revision: int = 1

    @property
    def etag(self) -> str:
        """The profile's version, as clients see it."""
        return f"u{self.revision}"

    def registered_again(self, profile: Profile, at: datetime) -> User:
        """Before the address is verified, the last to register it counts: nobody can occupy another's address."""
        return self._changed(at, profile=profile)

    def verified(self, at: datetime) -> User:
        """The address is the person's."""
        return self._changed(at, status=UserStatus.ACTIVE)

    def with_role(self, role: Role, at: datetime) -> User:
        """The person with one more role."""
        if role in self.roles:
            return self
        return self._changed(at, roles=(*self.roles, role))

    def edited(self, changes: Mapping[str, str], etag: str, at: datetime) -> User:
        """The person after changing their own profile; an etag, when there is one, must be the current one."""
        if etag and etag != self.etag:
            raise EtagMismatch
        for path in changes:
            if path not in MUTABLE:
                raise UpdateMaskInvalid(path=path)
        profile = tidied(replace(self.profile, **changes))
        return self if profile == self.profile else self._changed(at, profile=profile)

    def must_be_active(self) -> None:
        """Refuse those who may not log in."""
        if self.status is UserStatus.UNVERIFIED:
            raise EmailNotVerified
        if self.status is UserStatus.SUSPENDED:
            raise AccountSuspended

    def _changed(
        self,
        at: datetime,
        *,
        profile: Profile | None = None,
        status: UserStatus | None = None,
        roles: tuple[Role, ...] | None = None,
    ) -> User:
        return replace(
            self,
            profile=profile or self.profile,
            status=status or self.status,
            roles=self.roles if roles is None else roles,
            update_time=at,
            revision=self.revision + 1,
        )


def tidied(profile: Profile) -> Profile:
    """The profile without space around its words; names that were nothing else are refused."""
    tidy = replace(
        profile,
        email=profile.email.strip(),
        first_name=profile.first_name.strip(),
        last_name=profile.last_name.strip(),
        locale=profile.locale or DEFAULT_LOCALE,
    )
    blank = [name for name in ("first_name", "last_name") if not getattr(tidy, name)]
    if blank:
        raise InvalidField(violations=tuple(Violation(name, "must not be blank", "string.min_len") for name in blank))
    return tidy


def email_key(email: str) -> str:
    """What makes two addresses the same one: neither case nor surrounding space."""
    return email.strip().lower()


def check_password(password: str, email: str) -> None:
    """Refuse a password that anybody would try first."""
    lowered = password.lower()
    if lowered in _LEAKED or email_key(email) in lowered:
        raise PasswordTooWeak(violations=(Violation("password", "is among the first that anybody would try"),))
