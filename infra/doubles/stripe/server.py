"""Owns putting the double together: store, API, control and webhooks on one port."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from infra.doubles.stripe.account import Account
from infra.doubles.stripe.api import Api
from infra.doubles.stripe.control import Control, control_errors
from infra.doubles.stripe.faults import Faults
from infra.doubles.stripe.store import Store
from infra.doubles.stripe.webhooks import Webhooks

MAX_BODY_BYTES = 1 << 20
SHUTDOWN_SECONDS = 0.5  # hanging answers are scripted faults: nothing to wait for


@dataclass(frozen=True, slots=True)
class Options:
    """How one double runs."""

    port: int
    api_key: str
    webhook_secret: str
    webhook_url: str = ""
    webhook_events: tuple[str, ...] = ("*",)
    webhook_backoff_seconds: float = 1.0
    settle_seconds: float = 1.0
    data_dir: Path | None = None
    host: str = "127.0.0.1"


@contextlib.asynccontextmanager
async def serving(options: Options, clock: Callable[[], float] = time.time) -> AsyncIterator[Account]:
    """Serves while the context is open; the account it yields knows its URL."""
    store = Store(options.data_dir)
    account = Account(
        store=store,
        faults=Faults(),
        clock=clock,
        public_url="",
        enabled_events=options.webhook_events if options.webhook_url else (),
        settle_seconds=options.settle_seconds,
    )
    webhooks = Webhooks(
        account, options.webhook_url, options.webhook_secret, backoff_seconds=options.webhook_backoff_seconds
    )
    account.wake = webhooks.wake
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[control_errors])
    app.add_routes(Control(account, webhooks).routes())
    app.router.add_route("*", "/{path:.*}", Api(account, options.api_key).handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, options.host, options.port)
    await site.start()
    host, port = runner.addresses[0][:2]
    account.public_url = f"http://{host}:{port}"
    sender = asyncio.create_task(webhooks.run())
    try:
        yield account
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await runner.cleanup()
        store.close()
