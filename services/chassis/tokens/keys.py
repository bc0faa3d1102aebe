"""The public keys that tokens are checked with: fetched, kept fresh, and persisted for a start without their owner."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import jwt
from jwt import PyJWK

from services.chassis.errors import DependencyUnavailable
from services.chassis.rpc.channels import Channels
from services.chassis.rpc.errors import RemoteError

REFRESH_SECONDS = 60.0  # how often the set is fetched in the background
RETRY_SECONDS = 2.0  # while no set was ever had, or the owner is out
UNKNOWN_KEY_SECONDS = 5.0  # at most this often does an unknown key id cause a fetch
ALGORITHMS = ("EdDSA", "ES256")

Jwk = Mapping[str, str]

logger = logging.getLogger(__name__)


class KeySource(Protocol):
    """Where the key set comes from."""

    async def fetch(self) -> Sequence[Jwk]:
        """Every key that a valid token may name, as JSON Web Keys."""
        ...


class RemoteKeys:
    """Asks the service that owns the keys."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def fetch(self) -> Sequence[Jwk]:
        """Ask for the set."""
        from berth.auth.v1 import tenant_service_pb2 as messages
        from berth.auth.v1.tenant_service_pb2_grpc import KeyServiceStub

        answer = await self._channels.stub(KeyServiceStub, "auth", own_identity=True).GetJwks(messages.GetJwksRequest())
        return [{field.name: value for field, value in key.ListFields()} for key in answer.keys]


class KeySet:
    """The current keys by id. `find` waits for a fetch only when a token names a key that is not here."""

    def __init__(self, source: KeySource, persisted: Path | None = None) -> None:
        self._source = source
        self._persisted = persisted
        self._keys: dict[str, PyJWK] = {}
        self._next_forced_fetch = 0.0
        self._lock = asyncio.Lock()
        if persisted is not None:
            self._load(persisted)

    async def find(self, key_id: str) -> PyJWK | None:
        """The key, or None where its owner does not know it either."""
        key = self._keys.get(key_id)
        if key is not None:
            return key
        async with self._lock:
            key = self._keys.get(key_id)
            if key is None and time.monotonic() >= self._next_forced_fetch:
                self._next_forced_fetch = time.monotonic() + UNKNOWN_KEY_SECONDS
                await self._fetch_for(key_id)
                key = self._keys.get(key_id)
        if key is None and not self._keys:
            raise DependencyUnavailable("The keys that tokens are checked with are not here yet.")
        return key

    async def refresh(self) -> None:
        """Fetch the set and remember it."""
        keys = [dict(key) for key in await self._source.fetch()]
        self._take(keys)
        if self._persisted is not None and keys:
            # Written beside and moved, so that nobody reads half a file; several workers may do so at once.
            beside = self._persisted.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps({"keys": keys}))
            beside.replace(self._persisted)

    async def keep_fresh(self, stop: asyncio.Event) -> None:
        """Fetch now and then until told to stop; an owner that is out leaves the last set in use."""
        while not stop.is_set():
            pause = REFRESH_SECONDS
            try:
                await self.refresh()
            except (RemoteError, DependencyUnavailable) as error:
                pause = RETRY_SECONDS
                logger.warning("key set not refreshed", extra={"error": str(error)})
            try:
                await asyncio.wait_for(stop.wait(), pause)
            except TimeoutError:
                continue

    async def _fetch_for(self, key_id: str) -> None:
        try:
            await self.refresh()
        except (RemoteError, DependencyUnavailable) as error:
            logger.warning("key set not refreshed for an unknown key", extra={"error": str(error), "key": key_id[:64]})

    def _load(self, path: Path) -> None:
        try:
            self._take(json.loads(path.read_text())["keys"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("persisted key set not usable", extra={"error": str(error)})

    def _take(self, keys: Sequence[Jwk]) -> None:
        taken: dict[str, PyJWK] = {}
        for described in keys:
            if described.get("alg") not in ALGORITHMS or not described.get("kid"):
                continue
            try:
                taken[described["kid"]] = PyJWK(dict(described))
            except jwt.PyJWTError:
                logger.warning("key not usable", extra={"key_id": described["kid"]})
        if taken:
            self._keys = taken
