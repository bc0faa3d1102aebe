"""Owns the documented test cards: their numbers, names, and how a charge on each ends."""

from dataclasses import dataclass
from typing import Any

from infra.doubles.stripe.errors import invalid


@dataclass(frozen=True, slots=True)
class Decline:
    """Why the bank says no, as the provider reports it."""

    code: str
    decline_code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class TestCard:
    """One test card and what happens when it is charged."""

    name: str
    number: str
    brand: str = "visa"
    decline: Decline | None = None
    authentication: bool = False
    refund: str = "succeeded"  # or "pending" (succeeds later), "failing" (fails later)


_GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
_INSUFFICIENT = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")

CARDS: tuple[TestCard, ...] = (
    TestCard("visa", "4242424242424242"),
    TestCard("visa_debit", "4000056655665556"),
    TestCard("mastercard", "5555555555554444", "mastercard"),
    TestCard("amex", "378282246310005", "amex"),
    TestCard("visa_chargeDeclined", "4000000000000002", decline=_GENERIC),
    TestCard("visa_chargeDeclinedInsufficientFunds", "4000000000009995", decline=_INSUFFICIENT),
    TestCard(
        "visa_chargeDeclinedLostCard",
        "4000000000009987",
        decline=Decline("card_declined", "lost_card", "Your card was declined."),
    ),
    TestCard(
        "visa_chargeDeclinedStolenCard",
        "4000000000009979",
        decline=Decline("card_declined", "stolen_card", "Your card was declined."),
    ),
    TestCard(
        "chargeDeclinedExpiredCard",
        "4000000000000069",
        decline=Decline("expired_card", None, "Your card has expired."),
    ),
    TestCard(
        "chargeDeclinedIncorrectCvc",
        "4000000000000127",
        decline=Decline("incorrect_cvc", None, "Your card's security code is incorrect."),
    ),
    TestCard(
        "chargeDeclinedProcessingError",
        "4000000000000119",
        decline=Decline(
            "processing_error",
            None,
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    ),
    TestCard(
        "chargeDeclinedFraudulent",
        "4100000000000019",
        decline=Decline("card_declined", "fraudulent", "Your card was declined."),
    ),
    TestCard("authenticationRequired", "4000002760003184", authentication=True),
    TestCard("authenticationRequiredOnSetup", "4000002500003155", authentication=True),
    TestCard("threeDSecure2Required", "4000000000003220", authentication=True),
    TestCard("threeDSecureRequired", "4000000000003063", authentication=True),
    TestCard(
        "authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        decline=_INSUFFICIENT,
        authentication=True,
    ),
    TestCard("threeDSecureRequiredChargeDeclined", "4000008400001629", decline=_GENERIC, authentication=True),
    TestCard("threeDSecureOptional", "4000000000003055"),
    TestCard("bypassPending", "4000000000000077"),
    TestCard("pendingRefund", "4000000000007726", refund="pending"),
    TestCard("refundFail", "4000000000005126", refund="failing"),
)

# Declines are also known without the brand in their name: pm_card_chargeDeclined beside pm_card_visa_chargeDeclined.
_BY_NAME = {card.name: card for card in CARDS} | {card.name.removeprefix("visa_"): card for card in CARDS}
_BY_NUMBER = {card.number: card for card in CARDS}
del _BY_NAME["debit"]


def by_payment_method(name: str) -> TestCard | None:
    """The card behind `pm_card_…`, or None when the name is none of the shortcuts."""
    return _BY_NAME.get(name.removeprefix("pm_card_")) if name.startswith("pm_card_") else None


def by_token(token: str) -> TestCard:
    card = _BY_NAME.get(token.removeprefix("tok_")) if token.startswith("tok_") else None
    if card is None:
        raise invalid(f"No such token: '{token}'", code="resource_missing", param="payment_method_data[card][token]")
    return card


def by_number(number: str) -> TestCard:
    card = _BY_NUMBER.get(number.replace(" ", ""))
    if card is None:
        raise invalid("Your card number is incorrect.", code="incorrect_number", param="number")
    return card


def shown(card: TestCard) -> dict[str, Any]:
    """The card as a payment method carries it."""
    return {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
        "country": "US",
        "display_brand": card.brand,
        "exp_month": 12,
        "exp_year": 2034,
        "fingerprint": f"fp{card.number[:6]}{card.number[-4:]}",
        "funding": "debit" if card.name == "visa_debit" else "credit",
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def of_shown(card: dict[str, Any]) -> TestCard:
    """The test card behind a stored payment method."""
    return next(known for known in CARDS if f"fp{known.number[:6]}{known.number[-4:]}" == card["fingerprint"])
