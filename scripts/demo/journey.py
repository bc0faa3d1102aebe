"""Owns the journey itself: register, verify, log in, find, quote, book, pay, hear of it, cancel, get the money back."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scripts.demo.client import Client, DemoError

PASSWORD = "a quiet harbour at night"  # noqa: S105 (of a person who lives as long as the demonstration)
CARD_THAT_WORKS = "pm_card_visa"
# Of infra/local/demo.toml, where ids are the same on every machine: whatever else is for sale, this can be booked.
VENDOR = "vnd_01kdwcj2m4e28bt3ghmcnm09d1"
ROOM = "res_01kdwcj2m5faaspryz8sdw8sd1"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the journey left behind."""

    email: str
    user_id: str
    booking_id: str
    refund_amount: str


def travel(client: Client, *, days_ahead: int = 45) -> Outcome:
    """Walks the whole way once, as a new person; raises DemoError where the mesh does not follow."""
    email = f"guest-{uuid.uuid4().hex[:12]}@mail.example"
    user_id = become_somebody(client, email)
    room = find_a_room(client)
    booking = book_and_pay(client, room, days_ahead)
    client.mail_to("The confirmation is mailed", email, "confirmed")
    refund = cancel(client, booking["bookingId"])
    client.mail_to("The cancellation is mailed", email, "cancel")
    return Outcome(email, user_id, booking["bookingId"], refund)


def become_somebody(client: Client, email: str) -> str:
    """Registers, reads the code from the caught mail, verifies and logs in; answers the person's id."""
    person = {"email": email, "password": PASSWORD, "firstName": "Gwen", "lastName": "Guest"}
    client.call("Register", "POST", "/api/v1/auth/register", person, expect=201)
    message = client.mail_to("The code is mailed", email, "code")
    code = re.search(r"\b\d{6}\b", message["text"])
    if code is None:
        raise DemoError("the mail carries no six digits")
    client.call("Verify the address", "POST", "/api/v1/auth/verify-email", {"email": email, "otp": code.group()})
    session = client.call("Log in", "POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
    client.token = session["tokens"]["accessToken"]
    me = client.call("Who am I", "GET", "/api/v1/users/me")
    user_id: str = me["userId"]
    return user_id


def find_a_room(client: Client) -> Mapping[str, Any]:
    """Finds the demo's nightly stay."""
    listed = client.call("What is there to book", "GET", f"/api/v1/resources?vendorId={VENDOR}")
    for resource in listed["resources"]:
        if resource["resourceId"] == ROOM and resource["status"] == "ACTIVE":
            room: Mapping[str, Any] = resource
            return room
    raise DemoError("there is no stay to book: run `make up`, which fills in the demo data")


def book_and_pay(client: Client, room: Mapping[str, Any], days_ahead: int) -> Mapping[str, Any]:
    """Checks, quotes, books without a token, pays as a browser would, and waits for the webhook to confirm."""
    arrival = datetime.now(UTC).date() + timedelta(days=days_ahead)
    stay = {
        "resourceId": room["resourceId"],
        "startDate": arrival.isoformat(),
        "endDate": (arrival + timedelta(days=3)).isoformat(),
        "quantity": 1,
    }
    free = client.call("Is it free", "POST", "/api/v1/availability/check", stay)
    if not free["available"]:
        raise DemoError(f"the room is not free from {arrival}: {free['refusals']}")
    quote = client.call("Lock the price", "POST", "/api/v1/quotes", {"items": [stay]}, expect=201)
    guest = {"firstName": "Gwen", "lastName": "Guest", "email": "gwen@mail.example", "phone": "+442071838750"}
    order = {"quoteId": quote["quoteId"], "userDetails": guest, "paymentMethod": "credit_card"}
    booking = client.call("Book", "POST", "/api/v1/bookings", order, expect=201)
    if booking["status"] != "PENDING" or not booking["payment"]["clientSecret"]:
        raise DemoError(f"an unpaid booking must be PENDING with a client secret, not {booking['status']}")
    client.pay("Pay in the browser", booking["payment"]["clientSecret"], CARD_THAT_WORKS)
    confirmed: Mapping[str, Any] = client.wait_for(
        "The webhook confirms it",
        f"/api/v1/bookings/{booking['bookingId']}",
        lambda answer: answer["status"] != "PENDING",
    )
    if confirmed["status"] != "CONFIRMED":
        raise DemoError(f"the booking was paid and is {confirmed['status']}")
    return confirmed


def cancel(client: Client, booking_id: str) -> str:
    """Asks what a cancellation gives back, cancels, and waits for the refund; answers its amount."""
    path = f"/api/v1/bookings/{booking_id}"
    quote = client.call("What would a cancellation cost", "GET", f"{path}/cancellation-quote")
    client.call("Cancel", "POST", f"{path}/cancel", {"reason": "Change of plans"})
    refunded = client.wait_for(
        "The money goes back", path, lambda answer: answer.get("refundStatus") in {"SUCCEEDED", "FAILED"}
    )
    if refunded["refundStatus"] != "SUCCEEDED" or refunded["refundAmount"] != quote["refundAmount"]:
        raise DemoError(f"the refund is {refunded['refundStatus']} of {refunded['refundAmount']}")
    client.call("The whole story", "GET", f"{path}/history")
    amount: str = refunded["refundAmount"]["amount"]
    return amount
