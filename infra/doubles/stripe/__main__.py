"""Owns the double's command line: `python -m infra.doubles.stripe --port N --api-key sk_test_… …`."""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from infra.doubles.stripe.server import Options, serving


def read_options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m infra.doubles.stripe", description="A stand-in for Stripe.")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    parser.add_argument("--api-key", required=True, help="sk_test_…; pk_test_… follows from it")
    parser.add_argument("--webhook-secret", required=True, help="whsec_…")
    parser.add_argument("--webhook-url", default="", help="where events are posted; none without it")
    parser.add_argument("--webhook-events", default="*", help="comma-separated types, e.g. payment_intent.*,refund.*")
    parser.add_argument("--webhook-backoff-seconds", type=float, default=1.0, help="before the second attempt")
    parser.add_argument("--data-dir", type=Path, default=None, help="keeps its state; in memory without it")
    given = parser.parse_args()
    return Options(
        port=given.port,
        api_key=given.api_key,
        webhook_secret=given.webhook_secret,
        webhook_url=given.webhook_url,
        webhook_events=tuple(given.webhook_events.split(",")),
        webhook_backoff_seconds=given.webhook_backoff_seconds,
        data_dir=given.data_dir,
    )


async def serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options) as account:
        print(f"stripe double on {account.public_url}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(serve(read_options()))
