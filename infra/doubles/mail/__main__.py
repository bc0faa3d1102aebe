"""Owns the catcher's command line: `python -m infra.doubles.mail --smtp-port N --port N`."""

from __future__ import annotations

import argparse
import asyncio
import signal

import uvloop

from infra.doubles.mail.server import serving


async def serve(smtp_port: int, http_port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(smtp_port, http_port):
        print(f"mail catcher: SMTP on 127.0.0.1:{smtp_port}, page on http://127.0.0.1:{http_port}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m infra.doubles.mail", description="Catches every mail.")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--port", type=int, required=True, help="HTTP: the page and the JSON")
    given = parser.parse_args()
    uvloop.run(serve(given.smtp_port, given.port))
