"""Owns what the fault tests know of the mesh from outside its API: databases, the provider, the mails, the audit."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString

import aiohttp
import psycopg
from psycopg.rows import dict_row

from scripts.audit.__main__ import SERVICES, audit
from tests.fault.client import CARD, Person, new_key, stay
from tests.mesh import Mesh

OWNER = ("owner@demo.berth.example", "harbour-master-42")
CUSTOMER = ("customer@demo.berth.example", "harbour-lights-42")
VENDOR = "vnd_01kdwcj2m4e28bt3ghmcnm09d1"
OUTBOXES = ("auth", "inventory", "booking", "payment")
POLL_SECONDS = 0.05
SETTLE_SECONDS = 1.0
DRAIN_SECONDS = 90.0
# A cheap read of each service behind the gateway; that what is asked for is not there is an answer too.
_READS = {
    "auth": "/api/v1/users/me",
    "inventory": f"/api/v1/vendors/{VENDOR}",
    "booking": f"/api/v1/bookings/bkg_{'0' * 26}",
    "payment": f"/api/v1/payments/pay_{'0' * 26}",
}
FIRST_NIGHT = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=60)
Row = dict[str, Any]


def night(number: int) -> str:
    """The date of a night, from a first one that lies far enough ahead for every policy."""
    return (FIRST_NIGHT + dt.timedelta(days=number)).isoformat()


@dataclass(frozen=True)
class World:
    """One test's view of the mesh."""

    mesh: Mesh
    http: aiohttp.ClientSession = field(repr=False)
    customer: Person
    owner: Person

    async def resource(self, capacity: int = 1) -> str:
        """A new kind of room that nobody else books."""
        body = {
            "vendorId": VENDOR,
            "name": f"Room {new_key()[:8]}",
            "kind": "STAY",
            "timeZone": "Europe/London",
            "capacity": capacity,
            "price": {"unitPrice": {"currencyCode": "GBP", "amount": "100.00"}},
            "cancellationPolicy": "FLEXIBLE",
        }
        reply = await self.owner.insist("POST", "/api/v1/resources", body, key=new_key())
        assert reply.ok, reply
        return str(reply.body["resourceId"])

    async def restarted(self, service: str, **environment: str) -> int:
        """Restarts a service with an environment for that one process, until callers reach it; answers its pid."""
        part = self.mesh.part(service)
        await asyncio.to_thread(part.restart, environment)
        pid = part.pid
        await self.reached(service)
        return pid

    async def reached(self, *services: str) -> None:
        """Waits until the gateway sends calls to the services: it looks after them every now and then."""
        for service in services:
            waited = await self.until(lambda service=service: self._answers(service), 30)
            assert waited < 30, f"the gateway does not reach {service}"

    async def _answers(self, service: str) -> bool:
        reply = await self.customer.call("GET", _READS[service])
        return 0 < reply.status < 500

    async def one_night(self, capacity: int = 1, *, token: str = CARD) -> dict[str, Any]:
        """The body of a booking of one night in a room of its own."""
        return stay(await self.resource(capacity), night(0), night(1), token=token)

    def rows(self, database: str, query: LiteralString, **parameters: object) -> list[Row]:
        """What a database holds, read by the auditor's role."""
        with psycopg.connect(self.mesh.database_url(database), row_factory=dict_row, autocommit=True) as connection:
            return list(connection.execute(query, parameters))

    def change(self, database: str, *statements: str) -> None:
        """Plants something in a database, or digs it up, as the superuser."""
        with psycopg.connect(self.mesh.superuser_url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def bookings_of(self, resource_id: str) -> list[Row]:
        """Every booking that asked for the resource, however it ended."""
        return self.rows(
            "booking",
            """SELECT booking_id, status, step, payment_status, refund_status, payment_id FROM bookings
            WHERE asked::text LIKE '%%' || %(resource)s || '%%' ORDER BY create_time""",
            resource=resource_id,
        )

    def statuses(self, booking_ids: Sequence[str]) -> dict[str, str]:
        """Where bookings stand, by what the database says."""
        rows = self.rows(
            "booking", "SELECT booking_id, status FROM bookings WHERE booking_id = ANY(%(ids)s)", ids=list(booking_ids)
        )
        return {row["booking_id"]: row["status"] for row in rows}

    async def provider(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call of the provider's own API, or of the double's `/_double`."""
        headers = {"Authorization": f"Bearer {self.mesh.secrets['BERTH_STRIPE_API_KEY']}"}
        url = self.mesh.stripe_url + path
        control = path.startswith("/_double")
        async with self.http.request(
            method, url, headers=headers, json=body if control else None, data=None if control else body
        ) as response:
            told = await response.json(content_type=None)
            assert response.status < 300, told
            return told

    async def fault(self, mode: str, match: str = "*", *, target: str = "calls", **details: Any) -> None:
        """Scripts what goes wrong next at the provider."""
        await self.provider("POST", "/_double/faults", {"target": target, "mode": mode, "match": match, **details})

    async def intents(self, booking_id: str) -> list[Mapping[str, Any]]:
        """The booking's intents at the provider, the newest hundred searched."""
        listed = await self.provider("GET", "/v1/payment_intents?limit=100")
        return [intent for intent in listed["data"] if intent["metadata"].get("booking_id") == booking_id]

    async def charges(self, booking_id: str) -> list[Mapping[str, Any]]:
        """The captured charges of a booking."""
        intents = {intent["id"] for intent in await self.intents(booking_id)}
        listed = await self.provider("GET", "/v1/charges?limit=100")
        return [charge for charge in listed["data"] if charge["payment_intent"] in intents and charge["captured"]]

    async def pay(self, client_secret: str, card: str = CARD) -> Mapping[str, Any]:
        """Pays as the payer's browser does."""
        intent = client_secret.partition("_secret_")[0]
        form = {
            "client_secret": client_secret,
            "payment_method": card,
            "key": self.mesh.stack.stripe_publishable_key,
        }
        async with self.http.post(f"{self.mesh.stripe_url}/v1/payment_intents/{intent}/confirm", data=form) as response:
            told: Mapping[str, Any] = await response.json(content_type=None)
            return told

    async def until(self, condition: Callable[[], Awaitable[bool]] | Callable[[], bool], limit: float) -> float:
        """Seconds until the condition held; the limit's worth and more when it never did."""
        began = time.monotonic()
        while True:
            held = condition()
            if (held if isinstance(held, bool) else await held) or time.monotonic() - began > limit:
                return time.monotonic() - began
            await asyncio.sleep(POLL_SECONDS)

    async def until_status(self, booking_id: str, *statuses: str, limit: float = 60.0) -> float:
        """Seconds until the booking stood so."""
        return await self.until(lambda: self.statuses([booking_id]).get(booking_id) in statuses, limit)

    def unpublished(self) -> int:
        """Events that still wait for Kafka, in all services."""
        query: LiteralString = "SELECT count(*) AS n FROM outbox WHERE publish_time IS NULL"
        return sum(self.rows(name, query)[0]["n"] for name in OUTBOXES)

    async def drained(self, limit: float = DRAIN_SECONDS) -> float:
        """Seconds until nothing was under way any more: sagas, events, webhooks, refunds, mails."""
        return await self.until(self._is_quiet, limit)

    async def _is_quiet(self) -> bool:
        moving = self.rows(
            "booking",
            """SELECT count(*) AS n FROM bookings WHERE step NOT IN ('AWAIT', 'DONE')
            OR status = 'PENDING' AND payment_status = 'SUCCEEDED'
            OR status = 'PENDING' AND payment_due_time < now() OR refund_status = 'PENDING'""",
        )[0]["n"]
        if moving or self.unpublished():
            return False
        refunds = self.rows("payment", "SELECT count(*) AS n FROM refunds WHERE status = 'PENDING'")[0]["n"]
        mails = self.rows("notification", "SELECT count(*) AS n FROM deliveries WHERE status = 'QUEUED'")[0]["n"]
        queued = await self.provider("GET", "/_double/deliveries")
        return not refunds and not mails and not queued["data"] and not self.untold()

    def untold(self) -> int:
        """Published events of which somebody must be told, and nobody is going to be yet: the consumers' lag."""
        facts = self.rows(
            "booking",
            """SELECT event_id FROM outbox
            WHERE type ~ '[.](BookingConfirmed|BookingCancelled)$' AND publish_time > now() - interval '15 min'""",
        )
        asked = [row["event_id"] for row in facts]
        query: LiteralString = "SELECT count(*) AS n FROM deliveries WHERE event_id = ANY(%(asked)s)"
        return len(asked) - int(self.rows("notification", query, asked=asked)[0]["n"])

    async def audited(self) -> list[str]:
        """What the auditor counts once everything is quiet; an empty list is what must be."""
        waited = await self.drained()
        if waited > DRAIN_SECONDS:
            return [f"not drained within {DRAIN_SECONDS:g} s: {await self._left()}"]
        await asyncio.sleep(SETTLE_SECONDS)
        readings, notes = await asyncio.to_thread(
            audit,
            {name: self.mesh.database_url(name) for name in SERVICES},
            provider_key=self.mesh.secrets["BERTH_STRIPE_API_KEY"],
            provider_base=self.mesh.stripe_url,
            settle=dt.timedelta(seconds=SETTLE_SECONDS / 2),
        )
        assert not notes, notes
        return [
            f"{number} {violation.subject}: {violation.detail}"
            for number, reading in readings.items()
            for violation in reading.violations
        ]

    async def _left(self) -> str:
        moving = self.rows(
            "booking",
            """SELECT booking_id, status, step, payment_status, refund_status, attempts FROM bookings
            WHERE step NOT IN ('AWAIT', 'DONE') OR status = 'PENDING' OR refund_status = 'PENDING' LIMIT 3""",
        )
        refunds = self.rows("payment", "SELECT refund_id, payment_id FROM refunds WHERE status = 'PENDING' LIMIT 3")
        mails = self.rows("notification", "SELECT kind, last_error FROM deliveries WHERE status = 'QUEUED' LIMIT 3")
        queued = (await self.provider("GET", "/_double/deliveries"))["data"][:3]
        return (
            f"bookings {moving}, events {self.unpublished()}, refunds {refunds}, mails {mails}, "
            f"untold {self.untold()}, webhooks {queued}"
        )


async def log_in(gateway: str, http: aiohttp.ClientSession, email: str, password: str) -> Person:
    """Somebody of the demo data, with a fresh token."""
    anonymous = Person(gateway, http)
    body = {"email": email, "password": password}
    reply = await anonymous.insist("POST", "/api/v1/auth/login", body, key=new_key())
    assert reply.ok, reply
    return Person(gateway, http, reply.body["tokens"]["accessToken"], reply.body["user"]["userId"])
