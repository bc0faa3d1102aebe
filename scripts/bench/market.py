"""Owns the ground that is measured on: the demo's people signed in, resources made for the run, requests to book."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from infra.local.topology import ROOT
from scripts.bench import load
from scripts.bench.load import Request

CALL_SECONDS = 30.0
CARD_THAT_WORKS = "pm_card_visa"
CAPACITY = 10_000  # units of each resource: what is measured is selling, not refusing
FIRST_DAY = timedelta(days=30)
DAYS = 300  # over which the stays of one resource are spread
NIGHTS = timedelta(days=2)
MAKERS = 8  # resources that are made side by side
_DEMO = tomllib.loads((ROOT / "infra" / "local" / "demo.toml").read_text())


class Market:
    """One mesh's marketplace, over REST."""

    def __init__(self, gateway_url: str, work: Path) -> None:
        self._gateway_url = gateway_url
        self._work = work

    def sign_in(self, role: str) -> str:
        """A fresh access token of the demo's person with that role; it lives five minutes."""
        person = next(user for user in _DEMO["users"] if user["roles"][-1] == role)
        response = httpx.post(
            f"{self._gateway_url}/api/v1/auth/login",
            json={"email": person["email"], "password": person["password"]},
            headers={"Berth-Tenant": _DEMO["tenant"]["slug"]},
            timeout=CALL_SECONDS,
        )
        response.raise_for_status()
        token: str = response.json()["tokens"]["accessToken"]
        return token

    def make_resources(self, count: int, capacity: int = CAPACITY) -> Sequence[str]:
        """Nightly stays, by default with more units than anybody will book; answers their ids."""
        token = self.sign_in("vendor_owner")
        requests = [
            Request("POST", "/api/v1/resources", _headers(token), _resource(number, capacity))
            for number in range(count)
        ]
        plan = load.Plan([self._gateway_url], requests, clients=MAKERS, keep="resourceId")
        made = load.run(plan, self._work)
        if len(made.kept) != count:
            raise RuntimeError(f"Only {len(made.kept)} of {count} resources could be made: {dict(made.statuses)}")
        return made.kept

    def bookings(self, count: int, resources: Sequence[str], token: str) -> list[Request]:
        """Requests to book, each another stay of another resource, paid by a card that works."""
        return [
            Request("POST", "/api/v1/bookings", _headers(token), _booking(resources, number)) for number in range(count)
        ]


def stay(number: int) -> tuple[str, str]:
    """The first and the last day of one of the many stays."""
    start = datetime.now(UTC).date() + FIRST_DAY + timedelta(days=number % DAYS)
    return start.isoformat(), (start + NIGHTS).isoformat()


def tenant_id() -> str:
    """The demo's tenant."""
    return str(_DEMO["tenant"]["id"])


def customer_id() -> str:
    """The demo's customer."""
    return str(next(user["id"] for user in _DEMO["users"] if user["roles"] == ["customer"]))


def _headers(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}


def _resource(number: int, capacity: int) -> Mapping[str, Any]:
    return {
        "vendorId": _DEMO["vendors"][0]["id"],
        "name": f"Bench room {number}",
        "kind": "STAY",
        "timeZone": "Europe/London",
        "capacity": capacity,
        "price": {"unitPrice": {"currencyCode": "GBP", "amount": "150.00"}, "taxBasisPoints": 2000},
        "stay": {"minNights": 1},
        "cancellationPolicy": "MODERATE",
    }


def _booking(resources: Sequence[str], number: int) -> Mapping[str, Any]:
    start, end = stay(number // len(resources))
    return {
        "resourceId": resources[number % len(resources)],
        "startDate": start,
        "endDate": end,
        "quantity": 1,
        "userDetails": {
            "firstName": "Gwen",
            "lastName": "Guest",
            "email": "gwen@mail.example",
            "phone": "+442071838750",
        },
        "paymentMethod": "credit_card",
        "paymentDetails": {"token": CARD_THAT_WORKS},
    }
