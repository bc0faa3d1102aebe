"""Stripe behind the provider port: the official SDK, with its retries as the only layer of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import stripe

from services.chassis.clock import Clock
from services.chassis.crash import crash_point
from services.chassis.errors import DependencyUnavailable
from services.chassis.rpc.context import remaining
from services.payment.clients.objects import EXPANDED, Object, metadata, read_event, read_intent, read_refund
from services.payment.clients.transport import Transport
from services.payment.domain.payments import (
    Payment,
    PaymentTokenInvalid,
    ProviderIntent,
    ProviderRefund,
    Refund,
    SignatureInvalid,
)
from services.payment.ports import AmountRefused, AnswerUseless, OutcomeUnknown, ProviderEvent, RefundRefused

TIMEOUT_SECONDS = 5.0  # of one attempt
RETRIES = 1  # of the SDK; twice the timeout and a pause fit into the methods' deadlines
CONCURRENCY = 32  # calls at once, each on a connection
ANSWER_SECONDS = 0.25  # kept of the caller's time, to tell it that the outcome is not known yet
LONGEST_WAIT_SECONDS = 30.0
SIGNATURE_TOLERANCE_SECONDS = 300
PAGE = 100  # objects
MAX_PAGES = 2_000  # a quarter of an hour at ten times the load that we are built for
CLOCK_SLACK = timedelta(minutes=15)  # by which our clock may have been set since a payment was begun

_INTENTS = "/v1/payment_intents"
_REFUNDS = "/v1/refunds"
_UNEXPECTED_STATE = "payment_intent_unexpected_state"
_SERVER_ERROR = 500

T = TypeVar("T")

_log = logging.getLogger(__name__)


class StripeProvider:
    """Stripe, or whatever speaks its API.

    Calls go through the SDK's raw requests: its keys, signatures, retries and errors without its objects, which cost
    more than all the rest of a call.
    """

    def __init__(
        self,
        api_key: str,
        api_base: str,
        webhook_secrets: tuple[str, ...],
        clock: Clock,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        transport = Transport(api_base, timeout_seconds=timeout_seconds, connections=CONCURRENCY)
        self._client = stripe.StripeClient(
            api_key, base_addresses={"api": api_base}, max_network_retries=retries, http_client=transport
        )
        self.close = transport.close_async
        self._webhook_secrets = webhook_secrets
        self._clock = clock

    async def create(self, payment: Payment, token: str) -> ProviderIntent:
        params: dict[str, Any] = {
            "amount": payment.amount.minor,
            "currency": payment.amount.currency.lower(),
            "capture_method": "manual" if payment.manual_capture else "automatic",
            "payment_method_types": ["card"],
            "metadata": _metadata(payment),
        }
        if token:
            params |= {**_method(token), "confirm": True}
        key = f"{payment.booking_id}:{payment.step}:{payment.attempt}:start"
        return await self._charge(_INTENTS, key, params)

    async def confirm(self, payment: Payment, attempt: str, token: str) -> ProviderIntent:
        key = f"{payment.booking_id}:{payment.step}:{payment.attempt}:confirm:{attempt}"
        return await self._charge(f"{_INTENTS}/{_intent_id(payment)}/confirm", key, _method(token))

    async def fetch(self, payment: Payment) -> ProviderIntent | None:
        intent_id = payment.provider_intent_id or await self._read(self._find(payment))
        if intent_id is None:
            return None
        return read_intent(await self._read(self._retrieve(intent_id)))

    async def cancel(self, payment: Payment) -> ProviderIntent:
        intent_id = _intent_id(payment)

        async def cancel() -> Object:
            try:
                return await self._post(
                    f"{_INTENTS}/{intent_id}/cancel", {"cancellation_reason": "abandoned", "expand": EXPANDED}
                )
            except stripe.InvalidRequestError as error:
                if error.code != _UNEXPECTED_STATE:
                    raise
                return await self._retrieve(intent_id)  # paid or cancelled already: that is the answer

        return read_intent(await self._read(cancel()))

    async def refund(self, payment: Payment, refund: Refund) -> ProviderRefund:
        params = {
            "payment_intent": _intent_id(payment),
            "amount": refund.amount.minor,
            "metadata": {"refund_id": refund.refund_id, **_metadata(payment)},
        }
        key = f"{refund.refund_id}:{refund.attempt}"
        return read_refund(await self._move(self._post(_REFUNDS, params, key), _refund_refusal))

    async def refunds(self, payment: Payment) -> list[ProviderRefund]:
        async def listed() -> list[ProviderRefund]:
            return [read_refund(one) async for one in self._list(_REFUNDS, {"payment_intent": _intent_id(payment)})]

        return (await self._read(listed()))[::-1]

    def read_event(self, payload: bytes, signature: str) -> ProviderEvent:
        for secret in self._webhook_secrets:
            try:
                stripe.WebhookSignature.verify_header(payload, signature, secret, SIGNATURE_TOLERANCE_SECONDS)
                return read_event(json.loads(payload))
            except (stripe.SignatureVerificationError, UnicodeDecodeError):
                continue
            except (ValueError, KeyError, TypeError) as error:
                raise SignatureInvalid("The webhook's body is not an event.") from error
        raise SignatureInvalid

    async def _post(self, path: str, params: Mapping[str, Any], key: str | None = None) -> Object:
        options = {"idempotency_key": key} if key is not None else {}
        answer = await self._client.raw_request_async("post", path, **options, **params)
        if key is not None and answer.headers.get("Idempotent-Replayed") == "true" and path.startswith(_INTENTS):
            return await self._retrieve(answer.data["id"])  # what was answered then need not hold now
        posted: Object = answer.data
        return posted

    async def _retrieve(self, intent_id: str) -> Object:
        answer = await self._client.raw_request_async("get", f"{_INTENTS}/{intent_id}", expand=EXPANDED)
        found: Object = answer.data
        return found

    async def _list(self, path: str, params: Mapping[str, Any]) -> AsyncIterator[Object]:
        """Every object of a list, newest first, page by page."""
        cursor: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = (await self._client.raw_request_async("get", path, limit=PAGE, **params, **cursor)).data
            for one in page["data"]:
                yield one
            if not page["has_more"]:
                return
            cursor = {"starting_after": page["data"][-1]["id"]}
        # What was not looked at may hold what we look for: "none" would be a guess.
        raise DependencyUnavailable("The payment provider lists more than can be looked through.")

    async def _find(self, payment: Payment) -> str | None:
        """The intent that carries our id; of several the one that holds money, else the newest."""
        since = payment.create_time + await self._ahead() - CLOCK_SLACK
        newest: str | None = None
        async for intent in self._list(_INTENTS, {"created": {"gte": int(since.timestamp())}}):
            if metadata(intent, "payment_id") != payment.payment_id:
                continue
            if intent["status"] in ("succeeded", "requires_capture"):
                return str(intent["id"])
            newest = newest or str(intent["id"])
        return newest

    async def _ahead(self) -> timedelta:
        """How far the provider's clock is ahead of ours, which a sandbox may have set to any day."""
        answer = await self._client.raw_request_async("get", _INTENTS, limit=1)
        told = answer.headers.get("Date")
        return parsedate_to_datetime(told) - self._clock.now() if told else timedelta()

    async def _charge(self, path: str, key: str, params: Mapping[str, Any]) -> ProviderIntent:
        """Runs what may charge a card; a decline is answered by the intent that it was about."""
        try:
            intent = await self._move(self._post(path, {**params, "expand": EXPANDED}, key), _intent_refusal)
        except stripe.CardError as error:
            declined = _declined_intent(error)
            intent = await self._read(self._retrieve(declined))
        crash_point("payment.after_charge")
        return read_intent(intent)

    async def _read(self, call: Awaitable[T]) -> T:
        """Runs what can be asked again at any time."""
        try:
            return await self._run(call)
        except (stripe.StripeError, TimeoutError) as error:
            _report(error)
            raise DependencyUnavailable("The payment provider does not answer.") from error

    async def _move(self, call: Awaitable[T], refusal: Callable[[stripe.InvalidRequestError], Exception]) -> T:
        """Runs what moves money; every kind of failure but a decline says whether something may have happened."""
        try:
            return await self._run(call)
        except stripe.CardError:
            raise
        except stripe.IdempotencyError as error:
            raise AnswerUseless from error
        except stripe.InvalidRequestError as error:
            raise refusal(error) from error
        except (TimeoutError, stripe.APIConnectionError) as error:
            raise OutcomeUnknown from error
        except stripe.StripeError as error:
            _report(error)
            if _is_saved(error):
                raise AnswerUseless from error
            raise DependencyUnavailable("The payment provider does not answer.") from error

    async def _run(self, call: Awaitable[T]) -> T:
        left = remaining()
        wait = LONGEST_WAIT_SECONDS if left is None else max(0.0, left - ANSWER_SECONDS)
        async with asyncio.timeout(wait):
            return await call


def _metadata(payment: Payment) -> dict[str, str]:
    return {
        "tenant_id": payment.tenant_id,
        "booking_id": payment.booking_id,
        "payment_id": payment.payment_id,
    }


def _method(token: str) -> dict[str, Any]:
    if token.startswith("tok_"):
        return {"payment_method_data": {"type": "card", "card": {"token": token}}}
    return {"payment_method": token}


def _intent_id(payment: Payment) -> str:
    if payment.provider_intent_id is None:
        raise ValueError("The payment has no intent yet.")
    return payment.provider_intent_id


def _declined_intent(error: stripe.CardError) -> str:
    body = error.json_body
    intent = body["error"].get("payment_intent") if isinstance(body, dict) else None
    if not isinstance(intent, dict):
        raise OutcomeUnknown from error
    return str(intent["id"])


def _intent_refusal(error: stripe.InvalidRequestError) -> Exception:
    param = error.param or ""
    if param.startswith("payment_method"):
        return PaymentTokenInvalid()
    if param in ("amount", "currency"):
        return AmountRefused()
    if error.code == _UNEXPECTED_STATE:
        return OutcomeUnknown()  # somebody else has moved it on: to be read anew
    return error


def _refund_refusal(error: stripe.InvalidRequestError) -> Exception:
    _log.error("the payment provider refuses a refund", extra={"provider_code": error.code or ""})
    return RefundRefused()


def _is_saved(error: stripe.StripeError) -> bool:
    headers: Mapping[str, str] = error.headers or {}
    replayed = headers.get("Idempotent-Replayed") == "true" or headers.get("Stripe-Should-Retry") == "false"
    return (error.http_status or 0) >= _SERVER_ERROR and replayed


def _report(error: Exception) -> None:
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        _log.error("the payment provider refuses our key", extra={"provider_error": type(error).__name__})
    else:
        _log.warning("the payment provider failed", extra={"provider_error": type(error).__name__})
