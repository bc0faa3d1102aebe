"""People of the tests: registered, verified by the caught mail and logged in through REST, as everybody is."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import psycopg

from tests.journey.world.calls import Calls, Reply

FRESH_SECONDS = 150.0  # a token is asked for anew long before its 300 seconds are over
MAIL_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(slots=True)
class Person:
    """Somebody with an account."""

    name: str
    calls: Calls
    email: str
    password: str
    tenant: str = "demo"  # its slug
    user_id: str = ""
    _token: str = field(default="", repr=False)
    _logged_in_at: float = 0.0

    @property
    def token(self) -> str:
        """An access token that is good for a while."""
        if time.monotonic() - self._logged_in_at > FRESH_SECONDS:
            self.log_in()
        return self._token

    @property
    def claims(self) -> Mapping[str, Any]:
        """What the token says."""
        said: dict[str, Any] = jwt.decode(self.token, options={"verify_signature": False})
        return said

    @property
    def headers(self) -> dict[str, str]:
        """What the person's calls carry."""
        return {"Berth-Tenant": self.tenant, "Authorization": f"Bearer {self.token}"}

    @property
    def permissions(self) -> frozenset[str]:
        """What the token allows."""
        return frozenset(self.claims["scope"].split())

    @property
    def vendor_ids(self) -> frozenset[str]:
        """Whom the person works for, by the token."""
        return frozenset(self.claims.get("vnd", []))

    def log_in(self) -> Mapping[str, Any]:
        """Opens another session."""
        session = self.must("auth.v1.AuthService/Login", {"email": self.email, "password": self.password}, open_to=True)
        self._token, self._logged_in_at = session["tokens"]["accessToken"], time.monotonic()
        self.user_id = session["user"]["userId"]
        return session

    def asks(self, path: str, fields: Mapping[str, Any], *, key: str | None = None) -> Reply:
        """Calls by REST as this person."""
        return self.calls.by_rest(self.calls.method(path), fields, self.headers, key=key)

    def must(self, path: str, fields: Mapping[str, Any], *, open_to: bool = False) -> Mapping[str, Any]:
        """Calls by REST what must succeed; `open_to` tells that no token is needed."""
        headers = {"Berth-Tenant": self.tenant} if open_to else self.headers
        reply = self.calls.by_rest(self.calls.method(path), fields, headers)
        if not reply.ok:
            raise AssertionError(f"{self.name} cannot {path}: {reply.http} {reply.reason} {reply.body}")
        answer: Mapping[str, Any] = reply.body
        return answer


def seeded(calls: Calls, name: str, email: str, password: str) -> Person:
    """Somebody of the demo data."""
    return Person(name, calls, calls.used.add("e-mail", email), calls.used.add("password", password))


def newcomer(calls: Calls, name: str, tenant: str = "demo") -> Person:
    """Somebody with everything but an account."""
    email = f"{name.replace(' ', '-')}-{uuid.uuid4().hex[:10]}@mail.example"
    password = f"a calm {uuid.uuid4().hex} quay"
    return Person(name, calls, calls.used.add("e-mail", email), calls.used.add("password", password), tenant)


def register(person: Person, **profile: str) -> None:
    """Registers; the code is on its way."""
    used = person.calls.used
    said = {"firstName": "Xanthippe", "lastName": "Quillfeather", "phone": "+4940765432101"} | profile
    for what, value in said.items():
        used.add(what, value)
    person.must(
        "auth.v1.AuthService/Register", {"email": person.email, "password": person.password, **said}, open_to=True
    )


def code_for(person: Person, *, after: int = 0) -> str:
    """The newest code that was mailed to the person; `after` is the number of mails that came before."""
    found = re.search(r"\b\d{6}\b", mails_to(person.calls, person.email, "code", more_than=after)[-1]["text"])
    if found is None:
        raise AssertionError(f"the mail to {person.name} carries no six digits")
    return person.calls.used.add("otp", found.group())


def mails_to(calls: Calls, email: str, subject: str, *, more_than: int = 0) -> list[Mapping[str, Any]]:
    """The mails to an address about something, once there are more than so many."""
    give_up = time.monotonic() + MAIL_SECONDS
    while True:
        caught = httpx.get(f"{calls.mesh.mail_url}/messages", params={"to": email}, timeout=10).json()
        fitting = [mail for mail in caught if subject.lower() in mail["subject"].lower()]
        if len(fitting) > more_than:
            return fitting
        if time.monotonic() > give_up:
            raise AssertionError(f"no mail about {subject!r} came, only {[mail['subject'] for mail in caught]}")
        time.sleep(POLL_SECONDS)


def verify(person: Person) -> None:
    """Proves the address by the mailed code."""
    person.must("auth.v1.AuthService/VerifyEmail", {"email": person.email, "otp": code_for(person)}, open_to=True)


def settle(people: Iterable[Person]) -> None:
    """Registers everybody before the first code is waited for, then verifies and logs in."""
    crowd = list(people)
    for person in crowd:
        register(person)
    for person in crowd:
        verify(person)
        person.log_in()


def promote(person: Person, *roles: str) -> None:
    """Gives somebody other roles; no method does so yet, so the superuser does."""
    with psycopg.connect(person.calls.mesh.superuser_url("auth")) as connection:
        connection.execute("UPDATE users SET roles = %s WHERE user_id = %s", (list(roles), person.user_id))
    person.log_in()
