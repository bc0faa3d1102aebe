"""Payment as processes of its own: real PostgreSQL, certificates, the stand-in for Stripe, and its webhooks."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from aiohttp import web
from berth.payment.v1.payment_service_pb2_grpc import WebhookServiceStub
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.api.httpbody_pb2 import HttpBody

from infra.doubles.stripe.account import Account
from infra.doubles.stripe.server import Options, serving
from infra.local import pki
from tests.databases import NewDatabase, Urls, free_port
from tests.ports.payment.fakes import TENANT

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("auth", "booking", "inventory", "notification", "payment", "gateway", "operator")
API_KEY, SECRET = "sk_test_payment", "whsec_payment"
START_SECONDS = 20.0
SETTLE_SECONDS = 30.0


@dataclass
class Mesh:
    """What stands around payment, and payment itself, started as often as a test wants."""

    urls: Urls
    double: Account
    tls: Path
    folder: Path
    signing: Ed25519PrivateKey
    port: int = 0
    webhooks: list[int] = field(default_factory=list)  # the bridge's answers to the provider
    deaf: bool = False  # the bridge lets no webhook through
    _running: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, crash_at: str = "") -> asyncio.subprocess.Process:
        """One payment process, serving."""
        self.port = free_port()
        mine = pki.pair(self.tls, "payment")
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'generated' / 'python'}",
            "BERTH_ENVIRONMENT": "local",
            "BERTH_LISTEN": f"127.0.0.1:{self.port}",
            "BERTH_DATABASE_URL": self.urls.app,
            "BERTH_WORKER_DATABASE_URL": self.urls.worker,
            "BERTH_TLS_CA": str(pki.pair(self.tls, "ca").certificate),
            "BERTH_TLS_CERT": str(mine.certificate),
            "BERTH_TLS_KEY": str(mine.key),
            "BERTH_PEERS": f"auth=127.0.0.1:{free_port()}",  # nobody there: the persisted keys have to do
            "BERTH_JWKS_FILE": str(self.folder / "jwks.json"),
            "BERTH_STRIPE_API_KEY": API_KEY,
            "BERTH_STRIPE_API_BASE": self.double.public_url,
            "BERTH_STRIPE_WEBHOOK_SECRET": SECRET,
            "BERTH_CRASH_AT": crash_at,
            "BERTH_LOG_LEVEL": "DEBUG",
        }
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.payment", "serve", env=environment, stdout=log, stderr=log
            )
        self._running.append(process)
        async with self.dial("booking") as channel:
            await asyncio.wait_for(channel.channel_ready(), START_SECONDS)
        return process

    async def stop(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()  # nothing of it is looked at any more: a drain would only take time
                await asyncio.wait_for(process.wait(), START_SECONDS)

    @asynccontextmanager
    async def dial(self, peer: str) -> AsyncIterator[grpc.aio.Channel]:
        """A plain channel with one of the mesh's certificates."""
        mine = pki.pair(self.tls, peer)
        credentials = grpc.ssl_channel_credentials(
            pki.pair(self.tls, "ca").certificate.read_bytes(), mine.key.read_bytes(), mine.certificate.read_bytes()
        )
        options = (("grpc.ssl_target_name_override", "payment"), ("grpc.enable_retries", 0))
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options=options) as channel:
            yield channel

    def token(self, user_id: str, *permissions: str, vendors: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
        """The metadata of a signed-in person's call."""
        now = int(dt.datetime.now(dt.UTC).timestamp())
        claims: dict[str, Any] = {"iss": "berth", "aud": "berth", "sub": user_id, "ten": TENANT, "sid": "ses_1"}
        claims |= {"scope": " ".join(permissions), "vnd": list(vendors), "iat": now, "exp": now + 300}
        signed = jwt.encode(claims, self.signing, algorithm="EdDSA", headers={"kid": "one"})
        return (("authorization", f"Bearer {signed}"),)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    async def until(self, holds: Callable[[], bool]) -> float:
        """Waits for what must come true; the seconds that it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not holds():
            assert loop.time() - began < SETTLE_SECONDS, self.log()[-4000:]
            await asyncio.sleep(0.05)
        return loop.time() - began

    async def webhook(self, request: web.Request) -> web.Response:
        """Stands in for the gateway: the exact body, and the signature as metadata."""
        if self.deaf:
            return web.Response(status=503)
        body, signature = await request.read(), request.headers["Stripe-Signature"]
        async with self.dial("gateway") as channel:
            message = HttpBody(content_type="application/json", data=body)
            try:
                await WebhookServiceStub(channel).HandleStripe(
                    message, metadata=(("stripe-signature", signature),), timeout=5
                )
            except grpc.aio.AioRpcError as error:
                status = 401 if error.code() is grpc.StatusCode.UNAUTHENTICATED else 503
                self.webhooks.append(status)
                return web.Response(status=status)
        self.webhooks.append(200)
        return web.json_response({})


Open = Callable[[], AbstractAsyncContextManager[Mesh]]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("payment-tls")
    pki.ensure(directory, NAMES, dt.datetime.now(dt.UTC))
    return directory


@pytest.fixture
async def mesh(new_database: NewDatabase, certificates: Path, tmp_path: Path) -> AsyncIterator[Mesh]:
    signing = Ed25519PrivateKey.generate()
    described = jwt.algorithms.OKPAlgorithm.to_jwk(signing.public_key(), as_dict=True)
    (tmp_path / "jwks.json").write_text(
        json.dumps({"keys": [{**described, "kid": "one", "use": "sig", "alg": "EdDSA"}]})
    )
    bridge = free_port()
    options = Options(
        port=0,
        api_key=API_KEY,
        webhook_secret=SECRET,
        webhook_url=f"http://127.0.0.1:{bridge}/",
        webhook_backoff_seconds=0.2,
    )
    async with serving(options) as double:
        around = Mesh(new_database("payment"), double, certificates, tmp_path, signing)
        app = web.Application()
        app.router.add_post("/", around.webhook)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", bridge).start()
        try:
            yield around
        finally:
            await runner.cleanup()
            await around.stop()
