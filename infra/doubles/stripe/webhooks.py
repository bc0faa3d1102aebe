"""Owns sending webhooks: signed, several at a time, and again with backoff until the endpoint accepts them."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from infra.doubles.stripe import refunds
from infra.doubles.stripe.account import Account
from infra.doubles.stripe.readings import with_pending
from infra.doubles.stripe.store import Delivery

BATCH = 64
TIMEOUT_SECONDS = 10.0
MAX_ATTEMPTS = 16
BACKOFF_FACTOR = 3.0
MAX_BACKOFF_SECONDS = 4 * 3600.0
STALE_SECONDS = 3600
_IDLE_SECONDS = 5.0
_SENDING_SECONDS = 0.2


def signature(secret: str, payload: bytes, at: int) -> str:
    """The `Stripe-Signature` header."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Webhooks:
    """Sends what is due; a restart goes on with what is still queued."""

    def __init__(
        self,
        account: Account,
        url: str,
        secret: str,
        *,
        backoff_seconds: float,
        session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        self._account = account
        self._url = url
        self._secret = secret
        self._backoff_seconds = backoff_seconds
        self._new_session = session
        self._session: aiohttp.ClientSession | None = None
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Sends until cancelled."""
        self._session = self._new_session()
        try:
            while True:
                self._wake.clear()
                free = BATCH - len(self._sending)
                for delivery in self._account.store.due(self._account.clock(), free, but=self._sending):
                    self._sending[delivery.id] = asyncio.create_task(self._deliver(delivery))
                await self._rest()
        finally:
            for task in self._sending.values():
                task.cancel()
            await self._session.close()

    async def _rest(self) -> None:
        seconds = _IDLE_SECONDS
        if self._sending:
            # What is being sent counts as due, and may be due anew: looked at now and then, not at each end of one.
            seconds = _SENDING_SECONDS
        elif (due := self._account.store.next_due()) is not None:
            seconds = min(seconds, max(0.0, due - self._account.clock()))
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return

    async def _deliver(self, delivery: Delivery) -> None:
        store = self._account.store
        try:
            if delivery.manner == "settle_refund":
                with store.transaction():
                    refunds.settle(self._account, delivery.event)
                    store.finish(delivery.id, None)
                return
            status = await self.send(delivery.event, delivery.manner)
            accepted = status is not None and 200 <= status < 300
            if accepted or delivery.manner != "plain" or delivery.attempt + 1 >= MAX_ATTEMPTS:
                store.finish(delivery.id, status)
            else:
                pause = min(self._backoff_seconds * BACKOFF_FACTOR**delivery.attempt, MAX_BACKOFF_SECONDS)
                store.retry(delivery.id, self._account.clock() + pause, status)
        finally:
            if len(self._sending) == BATCH:
                self.wake()  # others wait for a place
            del self._sending[delivery.id]

    async def send(self, event_id: str, manner: str = "plain") -> int | None:
        """One delivery of an event, now; the endpoint's status, or None when there was no answer."""
        event = self._account.store.get(event_id, "event")
        if event is None or self._session is None or not self._url:
            return None
        event = with_pending(self._account, event)
        at, secret = self._account.now(), self._secret
        if manner == "stale":
            at -= STALE_SECONDS
        if manner == "forge":
            event, secret = _forged(event), f"{secret}_guessed"
        payload = json.dumps(event).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(secret, payload, at),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with self._session.post(self._url, data=payload, headers=headers, timeout=timeout) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None


def _forged(event: dict[str, Any]) -> dict[str, Any]:
    """What an attacker would send: an own event that says everything was paid."""
    item = {**event["data"]["object"], "status": "succeeded"}
    return event | {"id": f"{event['id'][:-4]}FAKE", "data": {"object": item}, "type": "payment_intent.succeeded"}
