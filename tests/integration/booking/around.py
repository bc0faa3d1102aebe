"""Booking, inventory and payment as processes, with the stand-in for Stripe; Kafka where a test wants it."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import jwt
import psycopg
from aiohttp import web
from berth.booking.v1 import booking_pb2 as messages
from berth.booking.v1 import booking_service_pb2 as service
from berth.booking.v1.booking_service_pb2_grpc import BookingServiceStub
from berth.payment.v1.payment_service_pb2_grpc import WebhookServiceStub
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody
from psycopg.rows import dict_row

from infra.doubles.stripe.account import Account
from infra.local import pki
from services.chassis.clock import SystemClock
from services.chassis.db import Database
from services.chassis.ids import new_id
from services.inventory.ports import Ports
from services.inventory.store.catalog import SqlCatalog
from services.inventory.usecases.seeding import plant
from services.inventory.wire.demo import demo_resources, demo_vendors
from tests.databases import Urls, free_port

ROOT = Path(__file__).resolve().parents[3]
API_KEY, SECRET = "sk_test_booking", "whsec_booking"
SERVICES = ("booking", "inventory", "payment")
START_SECONDS = 30.0
SETTLE_SECONDS = 30.0
NOW = dt.datetime.now(dt.UTC)
TENANT = new_id("ten", at=NOW)
VENDOR = new_id("vnd", at=NOW, shard=5)
OWNER = new_id("usr", at=NOW)
GUEST = messages.UserDetails(first_name="Cara", last_name="Customer", email="cara@example.org", phone="+49401234567")

Metadata = tuple[tuple[str, str], ...]


@dataclass
class Around:
    """The three, started, killed and started again as a test wants."""

    urls: Mapping[str, Urls]
    double: Account
    tls: Path
    folder: Path
    signing: Ed25519PrivateKey
    kafka: str = ""
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in SERVICES})
    running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    deaf: bool = False  # no webhook comes through

    async def start(self, name: str, **told: str) -> None:
        """One process, serving."""
        mine, urls = pki.pair(self.tls, name), self.urls[name]
        peers = ";".join(f"{peer}=127.0.0.1:{port}" for peer, port in self.ports.items())
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
            "BERTH_ENVIRONMENT": "local",
            "BERTH_LISTEN": f"127.0.0.1:{self.ports[name]}",
            "BERTH_DATABASE_URL": urls.app,
            "BERTH_WORKER_DATABASE_URL": urls.worker,
            "BERTH_KAFKA": self.kafka,
            "BERTH_TLS_CA": str(pki.pair(self.tls, "ca").certificate),
            "BERTH_TLS_CERT": str(mine.certificate),
            "BERTH_TLS_KEY": str(mine.key),
            "BERTH_PEERS": f"auth=127.0.0.1:{free_port()};{peers}",  # nobody at auth: the persisted keys have to do
            "BERTH_JWKS_FILE": str(self.folder / f"{name}.jwks.json"),
            "BERTH_DRAIN_SECONDS": "0.2",
            "BERTH_STRIPE_API_KEY": API_KEY,
            "BERTH_STRIPE_API_BASE": self.double.public_url,
            "BERTH_STRIPE_WEBHOOK_SECRET": SECRET,
            "BERTH_BOOKING_LEASE_SECONDS": "2",
            **told,
        }
        with self.log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", f"services.{name}", "serve", env=environment, stdout=log, stderr=log, cwd=ROOT
            )
        self.running[name] = process
        async with self.dial(name, "operator") as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)

    async def kill(self, name: str) -> None:
        """kill -9, if it lives."""
        process = self.running[name]
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), START_SECONDS)

    async def restart(self, name: str, **told: str) -> None:
        """Kill it and start another one."""
        await self.kill(name)
        await self.start(name, **told)

    @asynccontextmanager
    async def dial(self, name: str, peer: str) -> AsyncIterator[grpc.aio.Channel]:
        """A plain channel with one of the mesh's certificates."""
        mine, ours = pki.pair(self.tls, peer), pki.pair(self.tls, "ca")
        credentials = grpc.ssl_channel_credentials(
            ours.certificate.read_bytes(), mine.key.read_bytes(), mine.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", name), ("grpc.enable_retries", 0))
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.ports[name]}", credentials, options=options) as channel:
            yield channel

    def token(self, user_id: str, *permissions: str, vendors: tuple[str, ...] = (), key: str = "") -> Metadata:
        """The metadata of a signed-in person's call."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        scope = " ".join(permissions or ("bookings.create", "bookings.read", "bookings.cancel"))
        claims: dict[str, Any] = {"iss": "berth", "aud": "berth", "sub": user_id, "ten": TENANT, "sid": "ses_1"}
        claims |= {"scope": scope, "vnd": list(vendors), "iat": now, "exp": now + 300}
        signed = jwt.encode(claims, self.signing, algorithm="EdDSA", headers={"kid": "one"})
        sent: Metadata = (("authorization", f"Bearer {signed}"),)
        return (*sent, ("idempotency-key", key)) if key else sent

    async def resource(self, capacity: int = 1, price: str = "150.00") -> str:
        """A nightly stay that can be booked; its id."""
        now = dt.datetime.now(dt.UTC)
        resource_id = new_id("res", at=now, shard=5)
        vendor = {"id": VENDOR, "owner": OWNER, "name": "Harbour and Pier"}
        stay: dict[str, object] = {"id": resource_id, "vendor": VENDOR, "kind": "STAY"}
        stay |= {
            "name": "Harbour Hotel, double room",
            "time_zone": "Europe/London",
            "capacity": capacity,
            "price": {"currency": "GBP", "amount": price},
        }
        document = {"vendors": [vendor], "resources": [stay]}
        database, clock = Database(self.urls["inventory"].worker, pool_size=1), SystemClock()
        await database.open()
        try:
            nobody: Any = None  # whom planting does not ask
            ports = Ports(clock, SqlCatalog(database, clock), holds=nobody, grants=nobody, directory=nobody)
            await plant(ports, TENANT, demo_vendors(document, now), demo_resources(document, now))
        finally:
            await database.close()
        return resource_id

    def end_holds(self, resource_id: str) -> None:
        """Let the time of all of a resource's holds be over."""
        with psycopg.connect(self.urls["inventory"].superuser) as connection:
            of = "hold_id IN (SELECT hold_id FROM claims WHERE resource_id = %s)"
            for table in ("holds", "claims"):
                statement = f"UPDATE {table} SET expire_time = now() WHERE {of}"
                connection.execute(statement.encode(), (resource_id,))

    def one(self, name: str, statement: str, *parameters: object) -> dict[str, Any]:
        """The first row of a service's database, as the auditor sees it."""
        with psycopg.connect(self.urls[name].auditor, row_factory=dict_row) as auditor:
            return auditor.execute(statement.encode(), parameters).fetchone() or {}

    def booking(self, booking_id: str) -> dict[str, Any]:
        """A booking's row."""
        return self.one("booking", "SELECT * FROM bookings WHERE booking_id = %s", booking_id)

    def holds(self, booking_id: str) -> list[tuple[str, str]]:
        """A booking's holds, by step and status."""
        with psycopg.connect(self.urls["inventory"].auditor) as auditor:
            statement = "SELECT step, status FROM holds WHERE booking_id = %s ORDER BY 1"
            return list(auditor.execute(statement, (booking_id,)))

    def kept(self, booking_id: str) -> int:
        """What the provider captured and has not given back, by its own ledger."""
        intent = self.one("payment", "SELECT provider_intent_id FROM payments WHERE booking_id = %s", booking_id)
        if not intent:
            return 0
        entries = self.double.store.ledger(0, 1000, intent["provider_intent_id"])
        signs = {"capture": 1, "refund": -1, "refund_failure": 1}
        return sum(signs.get(entry["kind"], 0) * entry["amount"] for entry in entries)

    async def pay(self, client_secret: str, card: str = "pm_card_visa") -> None:
        """What the payer's browser does with the client secret."""
        form = {"client_secret": client_secret, "payment_method": card, "key": API_KEY.replace("sk_", "pk_")}
        url = f"{self.double.public_url}/v1/payment_intents/{client_secret.partition('_secret_')[0]}/confirm"
        async with httpx.AsyncClient() as client:
            answer = await client.post(url, data=form)
        assert answer.status_code in {200, 400, 402}, answer.text  # paid, too late, declined

    async def until(self, holds: Callable[[], bool], seconds: float = SETTLE_SECONDS) -> float:
        """Wait for what must come true; the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not holds():
            assert loop.time() - began < seconds, self.told()
            await asyncio.sleep(0.05)
        return loop.time() - began

    async def until_booking(self, booking_id: str, **wanted: object) -> float:
        """Wait until a booking's row says so."""
        return await self.until(lambda: self.booking(booking_id).items() >= wanted.items())

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def told(self) -> str:
        return "\n".join(f"{name}: {self.log(name).read_text()[-3000:]}" for name in SERVICES)

    async def webhook(self, request: web.Request) -> web.Response:
        """Stands in for the gateway: the exact body, and the signature as metadata."""
        if self.deaf:
            return web.Response(status=503)
        body, signature = await request.read(), request.headers["Stripe-Signature"]
        async with self.dial("payment", "gateway") as channel:
            sent = HttpBody(content_type="application/json", data=body)
            try:
                await WebhookServiceStub(channel).HandleStripe(
                    sent, metadata=(("stripe-signature", signature),), timeout=5
                )
            except grpc.aio.AioRpcError:
                return web.Response(status=503)
        return web.json_response({})


@dataclass(frozen=True)
class Customer:
    """A person who books."""

    around: Around
    stub: Any
    user_id: str

    async def book(
        self, resource_id: str, token: str = "", *, key: str = "", nights_ahead: int = 45
    ) -> messages.Booking:
        """Book one night."""
        arrival = dt.datetime.now(dt.UTC).date() + timedelta(days=nights_ahead)
        request = service.CreateBookingRequest(
            resource_id=resource_id,
            start_date=arrival.isoformat(),
            end_date=(arrival + timedelta(days=1)).isoformat(),
            user_details=GUEST,
            payment_details=service.PaymentDetails(token=token) if token else None,
        )
        answer: messages.Booking = await self.call(self.stub.CreateBooking, request, key)
        return answer

    async def get(self, booking_id: str) -> messages.Booking:
        """Read it."""
        answer: messages.Booking = await self.call(
            self.stub.GetBooking, service.GetBookingRequest(booking_id=booking_id)
        )
        return answer

    async def cancel(self, booking_id: str, key: str = "") -> messages.Booking:
        """Cancel it."""
        request = service.CancelBookingRequest(booking_id=booking_id, reason="Change of plans")
        answer: messages.Booking = await self.call(self.stub.CancelBooking, request, key)
        return answer

    async def call(self, method: Callable[..., Awaitable[Any]], request: Any, key: str = "") -> Any:
        """One call as this person."""
        return await method(request, metadata=self.around.token(self.user_id, key=key), timeout=15)


@asynccontextmanager
async def customer(around: Around) -> AsyncIterator[Customer]:
    """Somebody new, with a connection of their own."""
    async with around.dial("booking", "gateway") as channel:
        yield Customer(around, BookingServiceStub(channel), new_id("usr", at=dt.datetime.now(dt.UTC)))
