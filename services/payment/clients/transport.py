"""The SDK's way to the provider: aiohttp, on the event loop. A call costs two fifths less than on a thread."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import stripe


class Transport(stripe.HTTPClient):
    """Connections that are kept open. The SDK retries; aiohttp only repeats reads that a closed connection lost."""

    name = "aiohttp"

    def __init__(self, base: str, *, timeout_seconds: float, connections: int) -> None:
        super().__init__(verify_ssl_certs=True)
        address = urlsplit(base)
        # Looked up once: the environment does not change under us, and aiohttp would look at each call.
        self._way_out = None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, ceil_threshold=math.inf)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | bytes | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One attempt: the body, the status and the headers of what the provider answered."""
        session = self._session or self._open()
        try:
            async with session.request(method, url, data=post_data, headers=headers, allow_redirects=False) as answer:
                return await answer.read(), answer.status, answer.headers
        except aiohttp.ClientSSLError as error:
            raise _no_answer("The provider's certificate is not to be trusted.", should_retry=False) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _no_answer("The provider does not answer.", should_retry=True) from error

    def sleep_async(self, secs: float) -> Coroutine[Any, Any, None]:
        """The SDK's pause before it tries again."""
        return asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Of the loop that runs, which there is none of while the service is being built."""
        trusted = ssl.create_default_context(cafile=stripe.ca_bundle_path)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=self._timeout,
            proxy=self._way_out,
        )
        return self._session


def _no_answer(message: str, *, should_retry: bool) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(message, should_retry=should_retry)  # type: ignore[no-untyped-call]  # it has no types
