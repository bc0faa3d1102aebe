"""Owns the way of one API request: key, parameters, scripted fault, idempotency, operation, answer."""

import asyncio
import base64
import binascii
import hmac
import json
from typing import Any

from aiohttp import web

from infra.doubles.stripe import errors, faults, routes
from infra.doubles.stripe.account import API_VERSION, Account, Call, new_id
from infra.doubles.stripe.errors import ApiError
from infra.doubles.stripe.paging import expand
from infra.doubles.stripe.params import Params, decode
from infra.doubles.stripe.store import SavedResult

MAX_KEY_CHARACTERS = 255
# What a browser with the publishable key does not get to see of an intent.
_HIDDEN_FROM_BROWSERS = ("metadata", "customer", "latest_charge", "application_fee_amount", "transfer_data")


class Api:
    """Answers `/v1/…` for one API key and its publishable twin."""

    def __init__(self, account: Account, api_key: str) -> None:
        self._account = account
        self._api_key = api_key
        self._publishable_key = api_key.replace("sk_", "pk_", 1)
        self._running_keys: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(request_id=new_id("req"))
        try:
            return await self._answer(request, call)
        except ApiError as error:
            return _response(error.status, json.dumps(error.body()), call.request_id, error.headers)

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        call.values = decode(request.rel_url.raw_query_string)
        call.values |= decode((await request.read()).decode("utf-8", errors="replace"))
        key_in_params = call.values.pop("key", None)
        found = routes.find(request.method, request.path)
        if found is None:
            raise errors.unknown_url(request.method, request.path)
        route, ids = found
        self._authenticate(request, key_in_params, route, call)
        fault = self._account.faults.take(route.name)
        if fault is not None and fault.mode in faults.BEFORE:
            await asyncio.sleep(fault.seconds)
            return _failed_before(fault, request)
        key = request.headers.get("Idempotency-Key") if request.method != "GET" else None
        if key is None:
            response = await self._run(route, ids, call, fault)
        else:
            response = await self._once(key, request.path, route, ids, call, fault)
        if fault is not None and fault.mode in ("timeout", "drop_after"):
            # The effect stands; its answer never leaves.
            await asyncio.sleep(fault.seconds if fault.mode == "drop_after" else fault.seconds or faults.MAX_SECONDS)
            _cut(request)
        return response

    def _authenticate(self, request: web.Request, in_params: Any, route: routes.Route, call: Call) -> None:
        header = request.headers.get("Authorization", "")
        scheme, _, credential = header.partition(" ")
        if scheme.lower() == "basic":
            try:
                credential = base64.b64decode(credential, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                credential = ""
        key = credential or (in_params if isinstance(in_params, str) else "")
        if not key:
            raise errors.unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization header, using "
                "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
            )
        if hmac.compare_digest(key.encode(), self._api_key.encode()):
            return
        if not hmac.compare_digest(key.encode(), self._publishable_key.encode()):
            raise errors.unauthorized(f"Invalid API Key provided: {key[:8]}****{key[-4:]}")
        if not route.publishable:
            raise errors.unauthorized(
                "This API call cannot be made with a publishable API key. Please use a secret API key."
            )
        call.publishable = True

    async def _once(
        self,
        key: str,
        path: str,
        route: routes.Route,
        ids: tuple[str, ...],
        call: Call,
        fault: faults.Fault | None,
    ) -> web.Response:
        """Runs an operation once for its key, and replays what was answered then."""
        if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
            raise errors.invalid("Idempotency-Key must be between 1 and 255 characters.")
        store, parameters = self._account.store, json.dumps(call.values, sort_keys=True)
        endpoint = f"{'publishable ' if call.publishable else ''}{path}"
        if key in self._running_keys:
            raise errors.key_in_use(key)
        saved = store.saved_result(key, self._account.now())
        if saved is not None:
            if saved.endpoint != endpoint:
                raise errors.other_endpoint(key, saved.endpoint, endpoint)
            if saved.parameters != parameters:
                raise errors.other_parameters(key)
            headers = {"Idempotent-Replayed": "true", "Original-Request": saved.request_id, "Idempotency-Key": key}
            if saved.status >= 500:
                headers["Stripe-Should-Retry"] = "false"
            return _response(saved.status, saved.body, call.request_id, headers)
        call.idempotency_key = key
        self._running_keys.add(key)
        try:
            return await self._run(route, ids, call, fault, (key, endpoint, parameters))
        finally:
            self._running_keys.discard(key)

    async def _run(
        self,
        route: routes.Route,
        ids: tuple[str, ...],
        call: Call,
        fault: faults.Fault | None,
        saving: tuple[str, str, str] | None = None,
    ) -> web.Response:
        if fault is not None and fault.mode == "latency":
            await asyncio.sleep(fault.seconds)
        headers: dict[str, str] = {}
        with self._account.store.transaction():
            try:
                paths = Params({"expand": call.values.pop("expand", [])}, ("expand",)).texts("expand")
                answer = route.operation(self._account, call, *ids)
                status, text = 200, json.dumps(answer)
                if paths or call.publishable:
                    # Of a copy, by the quicker way: expanding it must not reach what is stored.
                    body = expand(self._account, json.loads(text), paths)
                    if call.publishable:
                        body = {name: value for name, value in body.items() if name not in _HIDDEN_FROM_BROWSERS}
                    text = json.dumps(body)
            except ApiError as error:
                if not error.executed:
                    raise
                status, text, headers = error.status, json.dumps(error.body()), dict(error.headers)
            if fault is not None and fault.mode == "saved_500":
                fault_error = errors.server_error(should_retry=False)
                status, text, headers = 500, json.dumps(fault_error.body()), dict(fault_error.headers)
            if saving is not None:
                key, endpoint, parameters = saving
                headers["Idempotency-Key"] = key
                headers["Original-Request"] = call.request_id
                self._account.store.save_result(
                    key, SavedResult(endpoint, parameters, call.request_id, status, text), self._account.now()
                )
        return _response(status, text, call.request_id, headers)


def _failed_before(fault: faults.Fault, request: web.Request) -> web.Response:
    match fault.mode:
        case "conflict_409":
            raise errors.lock_conflict()
        case "rate_limit_429":
            raise errors.rate_limited()
        case "error_500":
            raise errors.server_error(should_retry=True)
    _cut(request)
    return web.Response(status=500)


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _response(status: int, text: str, request_id: str, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status,
        text=text,
        content_type="application/json",
        headers={"Request-Id": request_id, "Stripe-Version": API_VERSION, **headers},
    )
