"""The supervisor's socket: one JSON line asks, one JSON line answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
_SECONDS = 60.0


class NotUpError(RuntimeError):
    """No supervisor answers."""


@contextlib.asynccontextmanager
async def serving(path: Path, handler: Handler) -> AsyncIterator[None]:
    """Answers on the socket for the length of a block; the folder's permissions say who may ask."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await handler(json.loads(await reader.readline()))
        except Exception as error:  # noqa: BLE001 - the asker is told; the supervisor goes on
            reply = {"error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(reply).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    with _short(path) as short:
        server = await asyncio.start_unix_server(answer, short)
    async with server:
        yield


def ask(path: Path, **request: Any) -> dict[str, Any]:
    """One question to the supervisor; NotUpError where none listens."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        try:
            with _short(path) as short:
                connection.connect(short)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        except (FileNotFoundError, ConnectionError) as error:
            raise NotUpError("nothing is up here: `make up` starts it") from error
    if not line:
        raise NotUpError("the supervisor went away while it was asked")
    reply: dict[str, Any] = json.loads(line)
    if "error" in reply:
        raise RuntimeError(reply["error"])
    return reply


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A path of few characters to the same socket: the kernel takes 107, and checkouts lie deeper than that."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
