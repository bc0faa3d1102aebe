"""Owns payment intents: created, confirmed, authenticated, captured, cancelled; their states and errors."""

from typing import Any

from infra.doubles.stripe import cards, charges
from infra.doubles.stripe.account import Account, Call, new_id
from infra.doubles.stripe.customers import METHOD_DATA, new_payment_method, payment_method_for
from infra.doubles.stripe.errors import ApiError, invalid, missing_param, no_such
from infra.doubles.stripe.paging import LIST_PARAMS, page
from infra.doubles.stripe.params import Params

LEAST_MINOR = {"usd": 50, "eur": 50, "gbp": 30, "chf": 50, "jpy": 50, "sek": 300, "dkk": 250, "nok": 300, "pln": 200}
CURRENCIES = (*LEAST_MINOR, "aud", "cad", "nzd", "sgd", "czk", "huf", "kwd", "bhd", "tnd", "krw", "inr", "brl", "mxn")

CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")
CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")

_DETAILS = ("description", "receipt_email", "statement_descriptor", "statement_descriptor_suffix", "transfer_group")
_METHOD = ("payment_method", "payment_method_data", "payment_method_types", "payment_method_options")
_CONFIRM = ("return_url", "off_session", "error_on_requires_action", "use_stripe_sdk", "mandate_data", "client_secret")
_CREATE = (
    *_DETAILS,
    *_METHOD,
    *_CONFIRM,
    "amount",
    "automatic_payment_methods",
    "capture_method",
    "confirm",
    "confirmation_method",
    "currency",
    "customer",
    "metadata",
    "setup_future_usage",
    "shipping",
)
_CANCEL_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


def create(account: Account, call: Call) -> dict[str, Any]:
    params = Params(call.values, _CREATE)
    amount = params.amount("amount")
    if amount is None:
        raise missing_param("amount")
    currency = params.required_text("currency").lower()
    _check_amount(amount, currency)
    confirm_now = params.boolean("confirm") or False
    automatic = params.group("automatic_payment_methods", ("enabled", "allow_redirects"))
    types = params.texts("payment_method_types")
    if types and automatic:
        raise invalid("You may only specify one of these parameters: automatic_payment_methods, payment_method_types.")
    if any(kind != "card" for kind in types):
        raise invalid("This account only takes the payment method type: card.", param="payment_method_types")
    redirects = automatic.choice("allow_redirects", ("always", "never")) if automatic else None
    if customer := params.text("customer"):
        account.require("customer", customer, param="customer")
    intent: dict[str, Any] = {
        "id": new_id("pi"),
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None if types else {"allow_redirects": redirects or "always", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.choice("capture_method", ("automatic", "automatic_async", "manual"))
        or "automatic_async",
        "client_secret": "",
        "confirmation_method": params.choice("confirmation_method", ("automatic", "manual")) or "automatic",
        "created": account.now(),
        "currency": currency,
        "customer": customer,
        **{name: params.text(name) for name in _DETAILS},
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": params.metadata({}),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": types or ["card"],
        "processing": None,
        "review": None,
        "setup_future_usage": params.choice("setup_future_usage", ("on_session", "off_session")),
        "shipping": None,
        "source": None,
        "status": "requires_payment_method",
        "transfer_data": None,
    }
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('s')[2:]}"
    _take_method(account, intent, params)
    account.store.put(intent)
    account.emit("payment_intent.created", intent, call)
    if confirm_now:
        _confirm(account, call, intent, params)
    return intent


def retrieve(account: Account, call: Call, intent_id: str) -> dict[str, Any]:
    params = Params(call.values, ("client_secret",))
    return _found(account, call, params, intent_id)


def update(account: Account, call: Call, intent_id: str) -> dict[str, Any]:
    params = Params(
        call.values, (*_DETAILS, *_METHOD, "amount", "currency", "customer", "metadata", "setup_future_usage")
    )
    intent = _found(account, call, params, intent_id)
    changed = params.amount("amount")
    if ("currency" in params or changed is not None) and intent["status"] not in CONFIRMABLE:
        raise _unexpected(
            intent, f"This PaymentIntent's amount could not be updated because it has a status of {intent['status']}."
        )
    amount, currency = changed or intent["amount"], (params.text("currency") or intent["currency"]).lower()
    _check_amount(amount, currency)
    intent |= {"amount": amount, "currency": currency, "metadata": params.metadata(intent["metadata"])}
    for name in _DETAILS:
        if name in params:
            intent[name] = params.text(name)
    if customer := params.text("customer"):
        intent["customer"] = account.require("customer", customer, param="customer")["id"]
    _take_method(account, intent, params)
    account.store.put(intent)
    return intent


def confirm(account: Account, call: Call, intent_id: str) -> dict[str, Any]:
    params = Params(
        call.values, (*_METHOD, *_CONFIRM, "receipt_email", "setup_future_usage", "shipping", "capture_method")
    )
    intent = _found(account, call, params, intent_id)
    if intent["status"] not in CONFIRMABLE:
        done = "it has already succeeded after being previously confirmed"
        because = done if intent["status"] == "succeeded" else f"it has a status of {intent['status']}"
        raise _unexpected(intent, f"You cannot confirm this PaymentIntent because {because}.")
    _take_method(account, intent, params)
    _confirm(account, call, intent, params)
    return intent


def capture(account: Account, call: Call, intent_id: str) -> dict[str, Any]:
    params = Params(call.values, ("amount_to_capture", "final_capture", "metadata", "statement_descriptor"))
    intent = _found(account, call, params, intent_id)
    if intent["status"] != "requires_capture":
        raise _unexpected(
            intent,
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. "
            "Only a PaymentIntent with one of the following statuses may be captured: requires_capture.",
        )
    amount = params.amount("amount_to_capture") or intent["amount_capturable"]
    if amount > intent["amount_capturable"]:
        raise invalid(
            "The requested capture amount is greater than the amount you can capture for this charge.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    charge = account.require("charge", intent["latest_charge"], param="charge")
    charges.capture(account, call, charge, amount)
    intent["metadata"] = params.metadata(intent["metadata"])
    intent |= {"status": "succeeded", "amount_received": amount, "amount_capturable": 0}
    account.store.put(intent)
    account.emit("payment_intent.succeeded", intent, call)
    return intent


def cancel(account: Account, call: Call, intent_id: str) -> dict[str, Any]:
    params = Params(call.values, ("cancellation_reason",))
    reason = params.choice("cancellation_reason", _CANCEL_REASONS)
    intent = _found(account, call, params, intent_id)
    if intent["status"] not in CANCELABLE:
        raise _unexpected(
            intent,
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a "
            f"PaymentIntent with one of the following statuses may be canceled: {', '.join(CANCELABLE)}.",
        )
    if intent["status"] == "requires_capture":
        charges.release(account, call, account.require("charge", intent["latest_charge"], param="charge"))
    intent |= {
        "status": "canceled",
        "canceled_at": account.now(),
        "cancellation_reason": reason,
        "amount_capturable": 0,
        "next_action": None,
    }
    account.store.put(intent)
    account.emit("payment_intent.canceled", intent, call)
    return intent


def listed(account: Account, call: Call) -> dict[str, Any]:
    return page(account, "payment_intent", Params(call.values, LIST_PARAMS), "/v1/payment_intents")


def authenticate(account: Account, intent_id: str, *, success: bool) -> dict[str, Any]:
    """Ends 3-D Secure as the payer would on the bank's page."""
    intent = account.require("payment_intent", intent_id, param="intent", in_path=True)
    if intent["status"] != "requires_action":
        raise _unexpected(intent, f"This PaymentIntent is not waiting for authentication: {intent['status']}.")
    call = Call(request_id="")
    method = account.require("payment_method", intent["payment_method"], param="payment_method")
    intent["next_action"] = None
    if success:
        _charge(account, call, intent, method, cards.of_shown(method["card"]).decline)
        return intent
    intent |= {"status": "requires_payment_method", "payment_method": None}
    intent["last_payment_error"] = ApiError(
        402,
        "card_error",
        "We are unable to authenticate your payment method. Please choose a different payment method and try again.",
        code="payment_intent_authentication_failure",
        payment_method=method,
    ).fields
    account.store.put(intent)
    account.emit("payment_intent.payment_failed", intent, call)
    return intent


def _found(account: Account, call: Call, params: Params, intent_id: str) -> dict[str, Any]:
    intent = account.store.get(intent_id, "payment_intent")
    secret = params.text("client_secret")
    # A publishable key sees only what its client secret opens.
    if intent is None or (call.publishable and secret != intent["client_secret"]):
        raise no_such("payment_intent", intent_id, param="intent", in_path=True)
    if secret is not None and secret != intent["client_secret"]:
        raise invalid("The client_secret provided does not match this PaymentIntent.", param="client_secret")
    return intent


def _check_amount(amount: int, currency: str) -> None:
    if currency not in CURRENCIES:
        raise invalid(
            f"Invalid currency: {currency}. Stripe currently supports these currencies: {', '.join(CURRENCIES)}",
            param="currency",
        )
    if amount < LEAST_MINOR.get(currency, 1):
        raise invalid(
            f"Amount must be at least {LEAST_MINOR[currency]} {currency} in minor units.",
            code="amount_too_small",
            param="amount",
        )


def _take_method(account: Account, intent: dict[str, Any], params: Params) -> None:
    data = params.group("payment_method_data", METHOD_DATA)
    if data is not None:
        method = new_payment_method(account, data)
    elif name := params.text("payment_method"):
        method = payment_method_for(account, name, param="payment_method")
    else:
        return
    intent["payment_method"] = method["id"]
    if intent["status"] == "requires_payment_method":
        intent["status"] = "requires_confirmation"


def _confirm(account: Account, call: Call, intent: dict[str, Any], params: Params) -> None:
    if intent["payment_method"] is None:
        raise _unexpected(
            intent,
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
        )
    automatic = intent["automatic_payment_methods"]
    return_url = params.text("return_url")
    if automatic and automatic["allow_redirects"] == "always" and not return_url and not call.publishable:
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`. "
            "If you don't want to accept redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
            "`true` and `automatic_payment_methods[allow_redirects]` to `never`."
        )
    method = account.require("payment_method", intent["payment_method"], param="payment_method")
    card = cards.of_shown(method["card"])
    if not card.authentication:
        _charge(account, call, intent, method, card.decline)
        return
    if params.boolean("error_on_requires_action") or params.text("off_session") == "true":
        needed = cards.Decline(
            "authentication_required",
            "authentication_required",
            "Your card was declined. This transaction requires authentication.",
        )
        _charge(account, call, intent, method, needed)
    url = f"{account.public_url}/_double/3ds/{intent['id']}"
    intent["status"] = "requires_action"
    if return_url:
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"url": url, "return_url": return_url},
        }
    else:
        intent["next_action"] = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": url, "source": new_id("src")},
        }
    account.store.put(intent)
    account.emit("payment_intent.requires_action", intent, call)


def _charge(
    account: Account, call: Call, intent: dict[str, Any], method: dict[str, Any], decline: cards.Decline | None
) -> None:
    """Charges the card and moves the intent; a decline is kept on the intent and raised."""
    manual = intent["capture_method"] == "manual"
    charge = charges.create(account, call, intent, method, decline, capture=not manual)
    intent["latest_charge"] = charge["id"]
    intent["next_action"] = None
    if decline is not None:
        error = ApiError(
            402,
            "card_error",
            decline.message,
            code=decline.code,
            executed=True,
            charge=charge["id"],
            payment_method=method,
        )
        if decline.decline_code:
            error.fields["decline_code"] = decline.decline_code
        intent["last_payment_error"] = dict(error.fields)
        intent |= {"status": "requires_payment_method", "payment_method": None}
        account.store.put(intent)
        account.emit("payment_intent.payment_failed", intent, call)
        error.fields["payment_intent"] = intent
        raise error
    intent["last_payment_error"] = None
    if manual:
        intent |= {"status": "requires_capture", "amount_capturable": intent["amount"]}
    else:
        intent |= {"status": "succeeded", "amount_received": intent["amount"]}
    account.store.put(intent)
    account.emit("payment_intent.amount_capturable_updated" if manual else "payment_intent.succeeded", intent, call)


def _unexpected(intent: dict[str, Any], message: str) -> ApiError:
    return ApiError(
        400,
        "invalid_request_error",
        message,
        code="payment_intent_unexpected_state",
        executed=True,
        payment_intent=intent,
    )
