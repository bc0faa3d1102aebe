"""The three services around a booking, once a session without Kafka and once with it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from infra.doubles.stripe.server import Options, serving
from infra.local import pki
from tests.brokers import Broker
from tests.databases import NewDatabase, free_port
from tests.integration.booking.around import API_KEY, SECRET, SERVICES, Around

NAMES = ("auth", *SERVICES, "notification", "gateway", "operator")
TOPICS = {"berth.booking.v1": 1, "berth.payment.v1": 1, "berth.inventory.v1": 1}


@pytest.fixture(scope="session")
async def around(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Around]:
    """All of it without Kafka: what payments come to is asked for."""
    async with _around(new_database, tmp_path_factory.mktemp("booking")) as running:
        yield running


@pytest.fixture(scope="session")
async def around_with_kafka(
    new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory, kafka: Broker
) -> AsyncIterator[Around]:
    """All of it with Kafka."""
    kafka.make_topics(TOPICS)
    async with _around(new_database, tmp_path_factory.mktemp("booking-kafka"), kafka.bootstrap) as running:
        yield running


@asynccontextmanager
async def _around(new_database: NewDatabase, folder: Path, kafka: str = "") -> AsyncIterator[Around]:
    signing = Ed25519PrivateKey.generate()
    described = jwt.algorithms.OKPAlgorithm.to_jwk(signing.public_key(), as_dict=True)
    keys = {"keys": [{**described, "kid": "one", "use": "sig", "alg": "EdDSA"}]}
    for name in SERVICES:
        (folder / f"{name}.jwks.json").write_text(json.dumps(keys))
    tls = folder / "tls"
    tls.mkdir()
    pki.ensure(tls, NAMES, dt.datetime.now(dt.UTC))
    bridge = free_port()
    options = Options(
        port=0,
        api_key=API_KEY,
        webhook_secret=SECRET,
        webhook_url=f"http://127.0.0.1:{bridge}/",
        webhook_backoff_seconds=0.2,
        settle_seconds=0.2,
    )
    async with serving(options) as double:
        urls = {name: new_database(name) for name in SERVICES}
        running = Around(urls, double, tls, folder, signing, kafka)
        app = web.Application()
        app.router.add_post("/", running.webhook)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", bridge).start()
        try:
            for name in SERVICES:
                await running.start(name)
            yield running
        finally:
            for name in running.running:
                await running.kill(name)
            await runner.cleanup()
