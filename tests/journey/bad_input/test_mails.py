"""What people write into names and reasons, as it comes out in mails: no new headers, no markup, no template runs."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest

from tests.journey.audit import drain
from tests.journey.world.calls import Calls
from tests.journey.world.people import Person, mails_to, newcomer, register, settle
from tests.journey.world.world import CARD, GUEST, World

REGISTER = "auth.v1.AuthService/Register"
BOOK = "booking.v1.BookingService/CreateBooking"
CANCEL = "booking.v1.BookingService/CancelBooking"
VENDOR = "inventory.v1.VendorService/CreateVendor"
# Each could begin a header, a tag or a template somewhere.
BREAKING = [
    "Eve\r\nBcc: all@mail.example",
    "Eve\nSubject: x",
    "Eve\x00",
    "Eve\x1b[31m",
    "<b>Eve</b>",
    "a\x7fb",
    "\x85\x00",
]
# These are people's names as far as anybody can tell, and have to come out as what they are.
PECULIAR = [
    "{{7*7}} {first_name} %(code)s $code",
    "=cmd|' /C calc'!A0",
    'O\'Neill & Sons "Ltd"',
    "\u202eevE\u202c مرحبا 🚢",
]
# The only ones that a message of ours has.
HEADERS = {
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
    "auto-submitted",
}


@pytest.mark.parametrize("name", BREAKING)
def test_names_that_could_break_out_are_refused(name: str, calls: Calls, world: World) -> None:
    who = {"email": "eve@mail.example", "password": "a calm and quiet quay", "firstName": "Eve", "lastName": "Eve"}
    guest = {**world.night(), "userDetails": GUEST | {"firstName": name}}
    seller = world["rival"]
    for path, fields, headers, at in (
        (REGISTER, who | {"firstName": name}, {"Berth-Tenant": "demo"}, "firstName"),
        (REGISTER, who | {"lastName": name}, {"Berth-Tenant": "demo"}, "lastName"),
        ("auth.v1.UserService/UpdateMe", {"firstName": name}, world["other"].headers, "firstName"),
        (BOOK, guest, world["other"].headers, "userDetails.firstName"),
        (VENDOR, {"displayName": name}, seller.headers, "displayName"),
        (
            "auth.v1.TenantService/CreateTenant",
            {"slug": "eve", "displayName": name},
            world["platform"].headers,
            "displayName",
        ),
    ):
        method = calls.method(path)
        for reply in (calls.by_rest(method, fields, headers), calls.by_grpc(method, fields, headers)):
            assert (reply.reason, reply.fields) == ("INVALID_FIELD", (at,)), (path, reply)


@pytest.mark.parametrize("reason", ["no\x00", "no\x1b", "<script>no</script>", "\x08no"])
def test_reasons_that_could_break_out_are_refused(reason: str, calls: Calls, world: World) -> None:
    booking = {"bookingId": world.thing("booking", "other's").id, "etag": "stale", "reason": reason}
    refund = {
        "paymentId": world.thing("payment", "other's").id,
        "amount": {"currencyCode": "GBP", "amount": "100000.00"},
        "reason": reason,
    }
    for path, fields, headers in (
        (CANCEL, booking, world["other"].headers),
        ("payment.v1.PaymentService/CreateRefund", refund, world["rival"].headers),
    ):
        method = calls.method(path)
        for reply in (calls.by_rest(method, fields, headers), calls.by_grpc(method, fields, headers)):
            assert (reply.reason, reply.fields) == ("INVALID_FIELD", ("reason",))


@pytest.mark.parametrize("name", PECULIAR)
def test_peculiar_names_come_out_as_they_are(name: str, calls: Calls, world: World) -> None:
    person = newcomer(calls, "peculiar")
    register(person, firstName=name, lastName=name)
    [mail] = mails_to(calls, person.email, "code")
    _is_clean(mail, person, name)


def test_a_whole_story_of_peculiar_names(calls: Calls, world: World) -> None:
    person = newcomer(calls, "storyteller")
    settle([person])
    name = PECULIAR[2]
    person.must("auth.v1.UserService/UpdateMe", {"firstName": name, "lastName": PECULIAR[3]})
    room = _room(world, f"{PECULIAR[0]} {PECULIAR[1]} {name}")
    night = world.night() | {"resourceId": room}
    booking = person.must(BOOK, {**night, "userDetails": GUEST, "paymentDetails": {"token": CARD}})
    assert booking["status"] == "CONFIRMED"
    confirmed = mails_to(calls, person.email, "confirmed")[-1]
    reason = "Change of plans\r\nBcc: all@mail.example\r\n\r\n{{7*7}} & <3".replace("<", "")
    person.must(CANCEL, {"bookingId": booking["bookingId"], "reason": reason})
    cancelled = mails_to(calls, person.email, "cancel")[-1]
    for mail in (confirmed, cancelled):
        _is_clean(mail, person, name)
        assert "{{7*7}}" in mail["text"] or "{{7*7}}" in mail["subject"]
        assert "<" not in mail["subject"]
    drain(calls.mesh)
    # Everything went to one person; nobody was copied in.
    everything = mails_to(calls, "all@mail.example", "", more_than=-1)
    assert everything == []


def _room(world: World, name: str) -> str:
    vendor = world.thing("vendor", "rival's").id
    made = world["rival"].must(
        "inventory.v1.ResourceService/CreateResource",
        {
            "vendorId": vendor,
            "name": name,
            "kind": "STAY",
            "timeZone": "Europe/London",
            "capacity": 5,
            "price": {"unitPrice": {"currencyCode": "GBP", "amount": "10.00"}},
        },
    )
    return str(made["resourceId"])


def _is_clean(mail: Mapping[str, Any], person: Person, name: str) -> None:
    assert mail["to"] == [person.email]
    unknown = {header.lower() for header in mail["headers"]} - HEADERS
    assert not unknown, unknown
    assert mail["headers"]["To"] == person.email or person.email in mail["headers"]["To"]
    assert "\n" not in mail["subject"]
    assert "\r" not in mail["subject"]
    assert _plain(name) in _plain(mail["text"])
    # In HTML the name is there, and every letter of it that means something there is escaped.
    assert _plain(name) in _plain(unescape(mail["html"]))
    # Marks that turn the letters after them could make one address look like another.
    assert not any(unicodedata.category(letter) == "Cf" for letter in mail["text"] + mail["html"] + mail["subject"])
    if set(name) & set("<>&\"'"):
        assert name not in mail["html"]
    assert "49" not in mail["text"].split()


def _plain(text: str) -> str:
    seen = "".join(" " if unicodedata.category(letter) == "Cf" else letter for letter in text)
    return " ".join(seen.split())


def test_nobody_is_written_to_at_an_address_of_the_request(calls: Calls, world: World) -> None:
    """The guest's address is the vendor's business: only the person who booked is written to."""
    address = f"victim-{uuid.uuid4().hex[:8]}@mail.example"
    order = {**world.night(), "userDetails": GUEST | {"email": address}, "paymentDetails": {"token": CARD}}
    world["other"].must(BOOK, order)
    drain(calls.mesh)
    assert mails_to(calls, address, "", more_than=-1) == []
