"""Stripe behind the provider port: the official SDK, in threads, with its retries as the only layer of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import stripe

from services.chassis.crash import crash_point
from services.chassis.errors import DependencyUnavailable
from services.chassis.ids import is_id
from services.chassis.money import Money
from services.chassis.rpc.context import remaining
from services.payment.domain.payments import (
    QUIET,
    Payment,
    PaymentTokenInvalid,
    ProviderIntent,
    ProviderRefund,
    Refund,
    RefundStatus,
    SignatureInvalid,
    Status,
)
from services.payment.ports import AmountRefused, AnswerUseless, OutcomeUnknown, ProviderEvent, RefundRefused

TIMEOUT_SECONDS = 5.0  # of one attempt
RETRIES = 1  # of the SDK; twice the timeout and a pause fit into the methods' deadlines
CONCURRENCY = 32  # calls at once, each on a thread
ANSWER_SECONDS = 0.25  # kept of the caller's time, to tell it that the outcome is not known yet
LONGEST_WAIT_SECONDS = 30.0
SIGNATURE_TOLERANCE_SECONDS = 300
PAGE = 100  # objects
MAX_PAGES = 100  # of intents when one is looked for by our id
CLOCK_SLACK = timedelta(seconds=10)  # between the provider's clock and ours

_EXPAND = ["latest_charge.balance_transaction"]
_UNEXPECTED_STATE = "payment_intent_unexpected_state"
_SERVER_ERROR = 500

_STATUS = {
    "requires_payment_method": Status.REQUIRES_PAYMENT_METHOD,
    "requires_confirmation": Status.REQUIRES_PAYMENT_METHOD,
    "requires_action": Status.REQUIRES_ACTION,
    "requires_capture": Status.REQUIRES_CAPTURE,
    "processing": Status.PROCESSING,
    "succeeded": Status.SUCCEEDED,
    "canceled": Status.CANCELLED,
}
_REFUND_STATUS = {
    "succeeded": RefundStatus.SUCCEEDED,
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}

T = TypeVar("T")

_log = logging.getLogger(__name__)


class StripeProvider:
    """Stripe, or whatever speaks its API."""

    def __init__(
        self,
        api_key: str,
        api_base: str,
        webhook_secrets: tuple[str, ...],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
    ) -> None:
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout_seconds),
        )
        self._webhook_secrets = webhook_secrets
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="stripe")

    async def create(self, payment: Payment, token: str) -> ProviderIntent:
        params: dict[str, Any] = {
            "amount": payment.amount.minor,
            "currency": payment.amount.currency.lower(),
            "capture_method": "manual" if payment.manual_capture else "automatic",
            "payment_method_types": ["card"],
            "metadata": _metadata(payment),
            "expand": _EXPAND,
        }
        if token:
            params |= {**_method(token), "confirm": True}
        return await self._charge(
            lambda: self._client.v1.payment_intents.create(
                params,  # type: ignore[arg-type]  # a TypedDict, which the optional keys would make unreadable
                {"idempotency_key": f"{payment.booking_id}:{payment.step}:{payment.attempt}:start"},
            )
        )

    async def confirm(self, payment: Payment, attempt: str, token: str) -> ProviderIntent:
        params: dict[str, Any] = {**_method(token), "expand": _EXPAND}
        return await self._charge(
            lambda: self._client.v1.payment_intents.confirm(
                _intent_id(payment),
                params,  # type: ignore[arg-type]  # as above
                {"idempotency_key": f"{payment.booking_id}:{payment.step}:{payment.attempt}:confirm:{attempt}"},
            )
        )

    async def fetch(self, payment: Payment) -> ProviderIntent | None:
        if payment.provider_intent_id is not None:
            intent_id = payment.provider_intent_id
        else:
            found = await self._read(lambda: self._find(payment))
            if found is None:
                return None
            intent_id = found
        return _intent(await self._read(lambda: self._retrieve(intent_id)))

    async def cancel(self, payment: Payment) -> ProviderIntent:
        intent_id = _intent_id(payment)

        def cancel() -> stripe.PaymentIntent:
            try:
                return self._client.v1.payment_intents.cancel(
                    intent_id, {"cancellation_reason": "abandoned", "expand": _EXPAND}
                )
            except stripe.InvalidRequestError as error:
                if error.code != _UNEXPECTED_STATE:
                    raise
                return self._retrieve(intent_id)  # paid or cancelled already: that is the answer

        return _intent(await self._read(cancel))

    async def refund(self, payment: Payment, refund: Refund) -> ProviderRefund:
        metadata = {"refund_id": refund.refund_id, **_metadata(payment)}
        given = await self._move(
            lambda: self._client.v1.refunds.create(
                {"payment_intent": _intent_id(payment), "amount": refund.amount.minor, "metadata": metadata},
                {"idempotency_key": f"{refund.refund_id}:{refund.attempt}"},
            ),
            _refund_refusal,
        )
        return _refund(given)

    async def refunds(self, payment: Payment) -> list[ProviderRefund]:
        def listed() -> list[ProviderRefund]:
            first = self._client.v1.refunds.list({"payment_intent": _intent_id(payment), "limit": PAGE})
            return [_refund(one) for one in first.auto_paging_iter()]

        return (await self._read(listed))[::-1]

    def read_event(self, payload: bytes, signature: str) -> ProviderEvent:
        for secret in self._webhook_secrets:
            try:
                stripe.WebhookSignature.verify_header(payload, signature, secret, SIGNATURE_TOLERANCE_SECONDS)
                return _event(json.loads(payload))
            except (stripe.SignatureVerificationError, UnicodeDecodeError):
                continue
            except (ValueError, KeyError, TypeError) as error:
                raise SignatureInvalid("The webhook's body is not an event.") from error
        raise SignatureInvalid

    def _retrieve(self, intent_id: str) -> stripe.PaymentIntent:
        return self._client.v1.payment_intents.retrieve(intent_id, {"expand": _EXPAND})

    def _find(self, payment: Payment) -> str | None:
        """The intent that carries our id; of several the one that holds money, else the newest."""
        window: Any = {
            "gte": int((payment.create_time - CLOCK_SLACK).timestamp()),
            "lte": int((payment.attempt_time + QUIET + CLOCK_SLACK).timestamp()),
        }
        listed = self._client.v1.payment_intents.list({"created": window, "limit": PAGE})
        newest: str | None = None
        for _ in range(MAX_PAGES):
            for intent in listed.data:
                if _text(intent.metadata, "payment_id") != payment.payment_id:
                    continue
                if intent.status in ("succeeded", "requires_capture"):
                    return intent.id
                newest = newest or intent.id
            if not listed.has_more:
                break
            listed = listed.next_page()
        return newest

    async def _charge(self, call: Callable[[], stripe.PaymentIntent]) -> ProviderIntent:
        """Runs what may charge a card; the intent as it is now, also where the answer was saved long ago."""
        try:
            intent = await self._move(call, _intent_refusal)
        except stripe.CardError as error:
            declined = _declined_intent(error)
            return _intent(await self._read(lambda: self._retrieve(declined)))
        crash_point("payment.after_charge")
        response = intent.last_response
        if response is not None and response.headers.get("Idempotent-Replayed") == "true":
            intent = await self._read(lambda: self._retrieve(intent.id))
        return _intent(intent)

    async def _read(self, call: Callable[[], T]) -> T:
        """Runs what can be asked again at any time."""
        try:
            return await self._run(call)
        except (stripe.StripeError, TimeoutError) as error:
            _report(error)
            raise DependencyUnavailable("The payment provider does not answer.") from error

    async def _move(self, call: Callable[[], T], refusal: Callable[[stripe.InvalidRequestError], Exception]) -> T:
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

    async def _run(self, call: Callable[[], T]) -> T:
        left = remaining()
        wait = LONGEST_WAIT_SECONDS if left is None else max(0.0, left - ANSWER_SECONDS)
        async with asyncio.timeout(wait):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)


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


def _intent(intent: stripe.PaymentIntent) -> ProviderIntent:
    currency = intent.currency.upper()
    captured, refunded, charge_id = intent.amount_received, 0, ""
    fee: Money | None = None
    charge = intent.latest_charge
    if isinstance(charge, stripe.Charge):
        charge_id = charge.id
        if charge.captured:
            released = charge.amount - charge.amount_captured
            refunded = max(0, charge.amount_refunded - released)
        moved = charge.balance_transaction
        if isinstance(moved, stripe.BalanceTransaction):
            fee = Money(moved.currency.upper(), moved.fee)
    elif charge is not None:
        charge_id = charge
    error = intent.last_payment_error
    return ProviderIntent(
        intent_id=intent.id,
        status=_STATUS[intent.status],
        captured=Money(currency, captured),
        refunded=Money(currency, refunded),
        fee=fee,
        last_error=(error.code or error.type or "") if error is not None else "",
        charge_id=charge_id,
        client_secret=intent.client_secret or "",
    )


def _refund(refund: stripe.Refund) -> ProviderRefund:
    return ProviderRefund(
        provider_refund_id=refund.id,
        status=_REFUND_STATUS.get(refund.status or "", RefundStatus.PENDING),
        amount=Money(refund.currency.upper(), refund.amount),
        refund_id=_text(refund.metadata, "refund_id"),
    )


def _event(event: Mapping[str, Any]) -> ProviderEvent:
    item = event["data"]["object"]
    intent = item["id"] if item.get("object") == "payment_intent" else item.get("payment_intent")
    payment_id = (item.get("metadata") or {}).get("payment_id", "")
    return ProviderEvent(
        event_id=str(event["id"]),
        type=str(event["type"]),
        object_id=str(item.get("id", "")),
        intent_id=intent if isinstance(intent, str) else "",
        payment_id=payment_id if isinstance(payment_id, str) and is_id("pay", payment_id) else "",
        create_time=datetime.fromtimestamp(event["created"], UTC),
    )


def _text(metadata: Any, key: str) -> str:
    value = getattr(metadata, key, None) if metadata is not None else None
    return value if isinstance(value, str) else ""


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
