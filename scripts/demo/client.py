"""Owns the demonstration's REST client: every call timed and handed to whoever prints or checks it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

CALL_TIMEOUT_SECONDS = 30.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.25


class DemoError(Exception):
    """The mesh did not do what the journey needs; the message says which step and what it answered."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer."""

    title: str
    method: str
    path: str
    sent: Mapping[str, Any] | None
    status: int
    body: Any
    milliseconds: float


class Client:
    """Calls the gateway as one person, and the mail catcher and the provider double as the world around it."""

    def __init__(
        self, gateway: str, mail: str, stripe: str, watch: Callable[[Exchange], None], *, stripe_key: str
    ) -> None:
        self._http = httpx.Client(timeout=CALL_TIMEOUT_SECONDS)
        self._gateway, self._mail, self._stripe = gateway.rstrip("/"), mail.rstrip("/"), stripe.rstrip("/")
        self._watch, self._stripe_key = watch, stripe_key
        self.token = ""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(
        self, title: str, method: str, path: str, body: Mapping[str, Any] | None = None, *, expect: int = 200
    ) -> Any:
        """Calls one REST method and answers its JSON; mutating calls carry a fresh idempotency key."""
        headers = {"Berth-Tenant": "demo"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if method != "GET":
            headers["Idempotency-Key"] = str(uuid.uuid4())
        started = time.perf_counter()
        response = self._http.request(method, self._gateway + path, json=body, headers=headers)
        elapsed = (time.perf_counter() - started) * 1000
        answer = _json(response)
        self._watch(Exchange(title, method, path, body, response.status_code, answer, elapsed))
        if response.status_code != expect:
            raise DemoError(f"{title}: {method} {path} answered {response.status_code}, not {expect}: {answer}")
        return answer

    def wait_for(self, title: str, path: str, done: Callable[[Any], bool]) -> Any:
        """Reads a path until it shows what is awaited; the last read is the one that is shown."""
        headers = {"Authorization": f"Bearer {self.token}"}
        started = time.perf_counter()
        while True:
            response = self._http.get(self._gateway + path, headers=headers)
            answer = _json(response)
            elapsed = time.perf_counter() - started
            if response.status_code == httpx.codes.OK and done(answer):
                self._watch(Exchange(title, "GET", path, None, response.status_code, answer, elapsed * 1000))
                return answer
            if elapsed > WAIT_SECONDS:
                raise DemoError(f"{title}: GET {path} still answers {response.status_code} {answer}")
            time.sleep(POLL_SECONDS)

    def mail_to(self, title: str, address: str, subject_part: str) -> Mapping[str, Any]:
        """Waits for the mail to an address whose subject contains the words."""
        started = time.perf_counter()
        while True:
            messages = self._http.get(f"{self._mail}/messages", params={"to": address}).json()
            for message in messages:
                if subject_part.lower() in message["subject"].lower():
                    elapsed = (time.perf_counter() - started) * 1000
                    shown = {"subject": message["subject"], "text": message["text"]}
                    self._watch(Exchange(title, "MAIL", address, None, 250, shown, elapsed))
                    found: Mapping[str, Any] = message
                    return found
            if time.perf_counter() - started > WAIT_SECONDS:
                subjects = [message["subject"] for message in messages]
                raise DemoError(f"{title}: no mail about {subject_part!r} came to {address}, only {subjects}")
            time.sleep(POLL_SECONDS)

    def pay(self, title: str, client_secret: str, payment_method: str) -> Any:
        """Confirms a payment as the provider's browser library does: by the client secret, with the card."""
        intent = client_secret.partition("_secret_")[0]
        path = f"/v1/payment_intents/{intent}/confirm"
        form = {"client_secret": client_secret, "payment_method": payment_method, "key": self._stripe_key}
        started = time.perf_counter()
        response = self._http.post(self._stripe + path, data=form)
        elapsed = (time.perf_counter() - started) * 1000
        answer = _json(response)
        shown = {"payment_method": payment_method, "client_secret": "…"}
        brief = {name: answer.get(name) for name in ("id", "status", "amount", "currency")}
        self._watch(Exchange(title, "POST", f"(provider) {path}", shown, response.status_code, brief, elapsed))
        if response.status_code != httpx.codes.OK:
            raise DemoError(f"{title}: the provider answered {response.status_code}: {answer}")
        return answer


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise DemoError(f"{response.request.url} answered {response.status_code} without JSON") from error
