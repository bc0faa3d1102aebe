"""Payments through the official SDK: the states, cards, refunds and errors that Stripe documents."""

from typing import Any

import httpx
import pytest
import stripe

PAY: Any = {"amount": 15000, "currency": "eur", "payment_method_types": ["card"]}


def test_an_intent_confirmed_at_once_is_charged_and_recorded(double: Any, client: Any) -> None:
    intent = client.v1.payment_intents.create(
        {
            **PAY,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "metadata": {"booking_id": "bkg_1"},
            "expand": ["latest_charge.balance_transaction"],
        }
    )
    assert (intent.status, intent.amount_received) == ("succeeded", 15000)
    charge: Any = intent.latest_charge
    assert charge.captured
    assert charge.balance_transaction.fee == 465
    entries = double.get("ledger", payment_intent=intent.id)["data"]
    assert [(entry["kind"], entry["amount"], entry["fee"]) for entry in entries] == [
        ("charge", 15000, 0),
        ("capture", 15000, 465),
    ]
    assert entries[0]["metadata"] == {"booking_id": "bkg_1"}


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
    ],
)
def test_a_declined_intent_stays_payable(
    double: Any, client: Any, card: str, code: str, decline_code: str | None
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.create({**PAY, "payment_method": card, "confirm": True})
    error: Any = declined.value.error
    assert (declined.value.http_status, error.code, getattr(error, "decline_code", None)) == (402, code, decline_code)
    intent = client.v1.payment_intents.retrieve(error.payment_intent.id)
    assert intent.status == "requires_payment_method"
    assert intent.last_payment_error is not None
    assert intent.last_payment_error.code == code
    assert double.ledger(intent.id) == []
    again = client.v1.payment_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


def test_a_token_pays_as_payment_method_data(client: Any) -> None:
    data: Any = {"type": "card", "card": {"token": "tok_visa"}}
    assert client.v1.payment_intents.create({**PAY, "payment_method_data": data, "confirm": True}).status == "succeeded"
    data["card"]["token"] = "tok_nothing"
    with pytest.raises(stripe.InvalidRequestError, match="No such token"):
        client.v1.payment_intents.create({**PAY, "payment_method_data": data, "confirm": True})


@pytest.mark.parametrize("card", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"])
def test_3d_secure_completes_or_fails_on_the_banks_page(double: Any, client: Any, card: str) -> None:
    intents = client.v1.payment_intents
    intent = intents.create({**PAY, "payment_method": card, "confirm": True, "return_url": "https://shop.example/back"})
    assert intent.status == "requires_action"
    assert intent.next_action is not None
    page = intent.next_action.redirect_to_url
    assert page is not None
    assert "Complete authentication" in httpx.get(str(page.url)).text
    assert double.ledger(intent.id) == []

    back = httpx.post(str(page.url), data={"outcome": "fail"}).headers["Location"]
    assert back.startswith("https://shop.example/back?payment_intent=")
    assert "redirect_status=failed" in back
    failed = intents.retrieve(intent.id)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error is not None
    assert failed.last_payment_error.code == "payment_intent_authentication_failure"

    assert intents.confirm(intent.id, {"payment_method": card}).status == "requires_action"
    assert double.post(f"3ds/{intent.id}", outcome="complete").json()["status"] == "succeeded"
    assert intents.retrieve(intent.id).status == "succeeded"
    assert double.post(f"3ds/{intent.id}", outcome="complete").status_code == 400


def test_a_browser_confirms_with_the_client_secret_only(double: Any, client: Any) -> None:
    intent = client.v1.payment_intents.create({**PAY, "metadata": {"secret": "of the shop"}})
    browser = double.client(key="pk_test_double").v1.payment_intents
    with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent"):
        browser.retrieve(intent.id, {"client_secret": f"{intent.id}_secret_guess"})
    seen = browser.confirm(intent.id, {"client_secret": intent.client_secret, "payment_method": "pm_card_visa"})
    assert seen.status == "succeeded"
    assert "metadata" not in seen.to_dict()
    with pytest.raises(stripe.AuthenticationError, match="secret API key"):
        browser.create(PAY)


def test_manual_capture_takes_a_part_and_releases_the_rest(double: Any, client: Any) -> None:
    intents = client.v1.payment_intents
    held = intents.create({**PAY, "capture_method": "manual", "payment_method": "pm_card_visa", "confirm": True})
    assert (held.status, held.amount_capturable, held.amount_received) == ("requires_capture", 15000, 0)
    with pytest.raises(stripe.InvalidRequestError) as too_much:
        intents.capture(held.id, {"amount_to_capture": 15001})
    assert too_much.value.code == "amount_too_large"
    taken = intents.capture(held.id, {"amount_to_capture": 10000})
    assert (taken.status, taken.amount_received) == ("succeeded", 10000)
    assert double.ledger(held.id) == [("charge", 15000), ("capture", 10000), ("release", 5000)]
    client.v1.refunds.create({"payment_intent": held.id})
    assert double.ledger(held.id)[-1] == ("refund", 10000)
    with pytest.raises(stripe.InvalidRequestError) as again:
        intents.capture(held.id)
    assert again.value.code == "payment_intent_unexpected_state"


def test_cancel_releases_an_authorisation_and_refuses_what_is_paid(double: Any, client: Any) -> None:
    intents = client.v1.payment_intents
    held = intents.create({**PAY, "capture_method": "manual", "payment_method": "pm_card_visa", "confirm": True})
    assert intents.cancel(held.id, {"cancellation_reason": "abandoned"}).status == "canceled"
    assert double.ledger(held.id) == [("charge", 15000), ("release", 15000)]
    with pytest.raises(stripe.InvalidRequestError):
        intents.confirm(held.id, {"payment_method": "pm_card_visa"})
    paid = intents.create({**PAY, "payment_method": "pm_card_visa", "confirm": True})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        intents.cancel(paid.id)
    error: Any = refused.value.error
    assert (error.code, error.payment_intent.status) == ("payment_intent_unexpected_state", "succeeded")


def test_refunds_are_partial_and_never_exceed_the_charge(double: Any, client: Any) -> None:
    paid = client.v1.payment_intents.create({**PAY, "payment_method": "pm_card_visa", "confirm": True})
    first = client.v1.refunds.create({"payment_intent": paid.id, "amount": 4000, "metadata": {"step": "part"}})
    assert (first.status, first.metadata and first.metadata["step"]) == ("succeeded", "part")
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount") as over:
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 11001})
    assert over.value.param == "amount"
    rest = client.v1.refunds.create({"payment_intent": paid.id})
    assert rest.amount == 11000
    with pytest.raises(stripe.InvalidRequestError) as twice:
        client.v1.refunds.create({"payment_intent": paid.id})
    assert twice.value.code == "charge_already_refunded"
    assert [refund.id for refund in client.v1.refunds.list({"payment_intent": paid.id}).data] == [rest.id, first.id]
    assert client.v1.refunds.retrieve(first.id).amount == 4000
    assert double.ledger(paid.id)[2:] == [("refund", 4000), ("refund", 11000)]


def test_a_refund_that_fails_later_gives_the_money_back_to_us(double: Any, client: Any) -> None:
    paid = client.v1.payment_intents.create({**PAY, "payment_method": "pm_card_refundFail", "confirm": True})
    refund = client.v1.refunds.create({"payment_intent": paid.id})
    assert refund.status == "succeeded"
    assert double.post(f"refunds/{refund.id}/settle").json()["status"] == "failed"
    assert double.ledger(paid.id)[2:] == [("refund", 15000), ("refund_failure", 15000)]
    slow = client.v1.payment_intents.create({**PAY, "payment_method": "pm_card_pendingRefund", "confirm": True})
    pending = client.v1.refunds.create({"payment_intent": slow.id})
    assert pending.status == "pending"
    double.post(f"refunds/{pending.id}/settle")
    assert client.v1.refunds.retrieve(pending.id).status == "succeeded"


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"amount": 49}, "amount_too_small", "amount"),
        ({"amount": -1}, "parameter_invalid_integer", "amount"),
        ({"amount": "ten"}, "parameter_invalid_integer", "amount"),
        ({"amount": 100_000_000}, "amount_too_large", "amount"),
        ({"amount": None}, "parameter_missing", "amount"),
        ({"currency": "xxx"}, None, "currency"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"metadata": {"k" * 41: "v"}}, None, "metadata"),
        ({"payment_method": "pm_missing"}, "resource_missing", "payment_method"),
        ({"expand": ["amount"]}, None, "expand"),
        # Without a return_url the dashboard's redirecting methods cannot be confirmed: the documented stumbling block.
        ({"payment_method_types": None, "payment_method": "pm_card_visa", "confirm": True}, None, None),
    ],
)
def test_bad_parameters_are_refused_and_leave_nothing(
    client: Any, change: Any, code: str | None, param: str | None
) -> None:
    newest = client.v1.payment_intents.list({"limit": 1}).data
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create({**PAY, **change})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)
    assert [one.id for one in client.v1.payment_intents.list({"limit": 1}).data] == [one.id for one in newest]


def test_unknown_things_and_keys_are_refused(double: Any, client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_missing")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.AuthenticationError):
        double.client(key="sk_test_other").v1.payment_intents.list()
    assert httpx.get(f"{double.url}/v1/unheard_of").status_code == 404
    assert httpx.get(f"{double.url}/v1/payment_intents").json()["error"]["message"].startswith("You did not provide")


def test_lists_page_both_ways_and_by_time(client: Any) -> None:
    made = [client.v1.payment_intents.create(PAY).id for _ in range(5)][::-1]
    first = client.v1.payment_intents.list({"limit": 2})
    assert [one.id for one in first.data] == made[:2]
    assert first.has_more
    second = client.v1.payment_intents.list({"limit": 2, "starting_after": made[1]})
    assert [one.id for one in second.data] == made[2:4]
    back = client.v1.payment_intents.list({"limit": 1, "ending_before": made[3]})
    assert [one.id for one in back.data] == [made[2]]
    assert back.has_more
    walked = [one.id for _, one in zip(range(5), first.auto_paging_iter(), strict=False)]
    assert walked == made
    assert client.v1.payment_intents.list({"created": {"gt": 2**40}}).data == []


def test_customers_keep_payment_methods_and_metadata(client: Any) -> None:
    customer = client.v1.customers.create({"name": "Zoë ☃", "metadata": {"a": "1", "b": "2"}})
    changed = client.v1.customers.update(customer.id, {"metadata": {"a": "", "c": "3"}})
    assert changed.name == "Zoë ☃"
    assert changed.metadata is not None
    assert dict(changed.metadata.to_dict()) == {"b": "2", "c": "3"}
    method = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    listed = client.v1.payment_methods.list({"customer": customer.id}).data
    assert [(one.id, one.card and one.card.last4) for one in listed] == [(method.id, "4242")]
    client.v1.payment_methods.detach(method.id)
    assert client.v1.payment_methods.list({"customer": customer.id}).data == []
    assert client.v1.customers.delete(customer.id).deleted
