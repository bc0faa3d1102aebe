"""Hashes passwords with Argon2id, on a few threads of their own, with a bounded queue before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.chassis.errors import Overloaded

MAX_WAITING: Final = 32  # calls; with 25 ms a hash and 2 threads the last of them waits 0.4 s
_RETRY_AFTER: Final = timedelta(seconds=1)

T = TypeVar("T")


class Argon2Passwords:
    """The passwords port. One hash takes tens of milliseconds and megabytes: more than `threads` never run at once."""

    def __init__(self, *, time_cost: int, memory_kib: int, threads: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._most = threads + MAX_WAITING
        self._running = 0
        # Whoever has no hash is measured against this one, for the same time.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """A new hash."""
        return await self._run(partial(self._hasher.hash, password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether they belong together."""
        matches = await self._run(partial(self._matches, password_hash or self._nobody, password))
        return matches and password_hash is not None

    def is_dated(self, password_hash: str) -> bool:
        """Whether new hashes are made with other parameters."""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._running >= self._most:
            raise Overloaded("Too many passwords are being checked.", retry_after=_RETRY_AFTER)
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._running -= 1
