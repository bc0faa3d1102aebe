"""Owns `/_double/…`: the ledger for auditors, scripted faults, deliveries on demand, and the bank's 3-D Secure page."""

import html
import json
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from infra.doubles.stripe import intents, refunds
from infra.doubles.stripe.account import Account
from infra.doubles.stripe.errors import ApiError, invalid
from infra.doubles.stripe.faults import MAX_COPIES, Fault
from infra.doubles.stripe.webhooks import Webhooks

MAX_LEDGER_PAGE = 10_000

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>3-D Secure test page</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px system-ui;max-width:28rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1rem}}
</style><h1>3-D Secure 2</h1><p>A test of the bank's page for <b>{amount} {currency}</b>.
<form method="post"><button name="outcome" value="complete">Complete authentication</button>
<button name="outcome" value="fail">Fail authentication</button></form></html>
"""


class Control:
    """What only tests, auditors and the payer's browser use."""

    def __init__(self, account: Account, webhooks: Webhooks) -> None:
        self._account = account
        self._webhooks = webhooks

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/_double/health", self.health),
            web.get("/_double/ledger", self.ledger),
            web.get("/_double/faults", self.list_faults),
            web.post("/_double/faults", self.add_fault),
            web.delete("/_double/faults", self.clear_faults),
            web.get("/_double/deliveries", self.deliveries),
            web.post("/_double/deliver", self.deliver),
            web.post("/_double/events", self.make_event),
            web.post("/_double/refunds/{id}/settle", self.settle_refund),
            web.get("/_double/3ds/{id}", self.bank_page),
            web.post("/_double/3ds/{id}", self.bank_answer),
        ]

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "SERVING"})

    async def ledger(self, request: web.Request) -> web.Response:
        after, limit = int(request.query.get("after", "0")), int(request.query.get("limit", str(MAX_LEDGER_PAGE)))
        size = min(limit, MAX_LEDGER_PAGE)
        entries = self._account.store.ledger(after, size + 1, request.query.get("payment_intent"))
        return web.json_response({"data": entries[:size], "has_more": len(entries) > size})

    async def list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": self._account.faults.shown()})

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = Fault.parse(await request.json())
        self._account.faults.add(fault)
        return web.json_response(fault.shown(), status=201)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._account.faults.clear()
        return web.json_response({"data": []})

    async def deliveries(self, request: web.Request) -> web.Response:
        """An event's deliveries, or without one what is still queued."""
        return web.json_response({"data": self._account.store.deliveries(request.query.get("event"))})

    async def deliver(self, request: web.Request) -> web.Response:
        """Sends events in the order given, each `copies` times, and answers with the endpoint's statuses."""
        body: dict[str, Any] = await request.json()
        copies, manner = int(body.get("copies", 1)), str(body.get("manner", "plain"))
        if not 1 <= copies <= MAX_COPIES or manner not in ("plain", "forge", "stale"):
            raise invalid("copies lies between 1 and 1000; manner is plain, forge or stale.")
        events = [self._account.require("event", event, param="events")["id"] for event in body["events"]]
        statuses = [await self._webhooks.send(event, manner) for event in events for _ in range(copies)]
        return web.json_response({"statuses": statuses})

    async def make_event(self, request: web.Request) -> web.Response:
        """Makes and sends an event of any type about any object, as a newer API version might."""
        body: dict[str, Any] = await request.json()
        with self._account.store.transaction():
            event = self._account.emit(str(body["type"]), dict(body["object"]), None)
        return web.json_response(event, status=201)

    async def settle_refund(self, request: web.Request) -> web.Response:
        with self._account.store.transaction():
            refund = refunds.settle(self._account, request.match_info["id"])
        return web.json_response(refund)

    async def bank_page(self, request: web.Request) -> web.Response:
        intent = self._account.require("payment_intent", request.match_info["id"], param="intent", in_path=True)
        shown = _PAGE.format(amount=intent["amount"], currency=html.escape(intent["currency"].upper()))
        return web.Response(text=shown, content_type="text/html")

    async def bank_answer(self, request: web.Request) -> web.Response:
        """What the payer does there: `outcome=complete` or `outcome=fail`, by the page's form or in the query."""
        outcome = request.query.get("outcome") or (await request.post()).get("outcome")
        if outcome not in ("complete", "fail"):
            raise invalid("outcome is complete or fail.", param="outcome")
        intent_id = request.match_info["id"]
        before = self._account.require("payment_intent", intent_id, param="intent", in_path=True)
        error: ApiError | None = None
        with self._account.store.transaction():
            try:
                intents.authenticate(self._account, intent_id, success=outcome == "complete")
            except ApiError as refused:
                if not refused.executed or refused.status != 402:
                    raise
                error = refused  # declined after the authentication: the intent says so
        after = self._account.require("payment_intent", intent_id, param="intent", in_path=True)
        back = ((before["next_action"] or {}).get("redirect_to_url") or {}).get("return_url")
        if back and "outcome" not in request.query:
            status = "failed" if error or outcome == "fail" else "succeeded"
            secret = urlencode(
                {
                    "payment_intent": intent_id,
                    "payment_intent_client_secret": after["client_secret"],
                    "redirect_status": status,
                }
            )
            raise web.HTTPSeeOther(f"{back}{'&' if '?' in back else '?'}{secret}")
        return web.json_response(after)


@web.middleware
async def control_errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Control requests fail in the same JSON as the API."""
    try:
        answer: web.StreamResponse = await handler(request)
    except ApiError as error:
        return web.json_response(error.body(), status=error.status)
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        return web.json_response(invalid(f"Bad request: {error!r}").body(), status=400)
    return answer
