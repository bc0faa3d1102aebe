"""Templates, dates, retries and what the events say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from berth.auth.events.v1.events_pb2 import OtpIssued, UserVerified
from berth.booking.events.v1.events_pb2 import BookingCancelled, BookingConfirmed, BookingSnapshot
from berth.payment.events.v1.events_pb2 import PaymentAttemptFailed
from berth.payment.v1.payment_pb2 import Payment
from berth.type.v1.money_pb2 import Money as MoneyMessage

from services.chassis.money import Money
from services.notification import wire
from services.notification.clients.smtp import compose
from services.notification.clients.templates import FileTemplates
from services.notification.domain import BookingDetails, Delivery, Kind, Mail, MailRefused, Status, Subject, Text
from tests.ports.notification.fakes import AT, BOOKING, CHALLENGE, TENANT, USER

VALUES = dict.fromkeys(
    ("first_name", "tenant", "code", "minutes", "resource", "when", "total", "confirmation_code", "refund"), "value"
)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_words(kind: Kind) -> None:
    text = FileTemplates().fill(kind, "en", VALUES)
    assert text.title
    assert text.body
    assert "$" not in text.title + text.body


def test_unknown_languages_get_the_fallback() -> None:
    templates = FileTemplates()
    assert templates.fill("verify_email", "tlh-XX", VALUES) == templates.fill("verify_email", "en", VALUES)
    assert templates.fill("verify_email", "../../etc", VALUES) == templates.fill("verify_email", "en", VALUES)


def test_a_broken_template_is_found_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "x.txt").write_text("5 $ please")
    with pytest.raises(ValueError, match=r"en/x\.txt"):
        FileTemplates(tmp_path)


def test_html_holds_words_only() -> None:
    values = VALUES | {"first_name": "<b>&", "tenant": '"><img src=x>'}
    _, html = FileTemplates().letter(Text("<title>", "a <i>\n\nb & c"), "en", values)
    for part in ("<b>", "<img", "<title><title>", "<i>"):
        assert part not in html
    assert "<p>a &lt;i&gt;</p>\n<p>b &amp; c</p>" in html


@pytest.mark.parametrize(
    ("details", "says"),
    [
        (
            {"start_date": date(2028, 2, 28), "end_date": date(2028, 3, 1)},
            "Mon 28 February 2028 to Wed 1 March 2028 (2 nights)",
        ),
        (
            {"start_date": date(2030, 1, 1), "end_date": date(2030, 1, 2)},
            "Tue 1 January 2030 to Wed 2 January 2030 (1 night)",
        ),
        (
            {
                "start_time": datetime(2030, 3, 31, 0, 30, tzinfo=UTC),
                "end_time": datetime(2030, 3, 31, 1, 30, tzinfo=UTC),
            },
            "Sun 31 March 2030, 01:30 to 03:30 (Europe/Berlin)",
        ),
        (
            {"start_time": datetime(2030, 6, 1, 21, tzinfo=UTC), "end_time": datetime(2030, 6, 1, 23, tzinfo=UTC)},
            "Sat 1 June 2030, 23:00 to Sun 2 June 2030, 01:00 (Europe/Berlin)",
        ),
        ({}, "to be agreed"),
    ],
)
def test_times_are_said_as_the_place_says_them(details: dict[str, date], says: str) -> None:
    booking = BookingDetails("Room", "CODE", None, "Europe/Berlin", **details)  # type: ignore[arg-type]  # see above
    assert booking.when == says


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)])
def test_retries_come_soon_and_then_once_a_minute(attempts: int, seconds: int) -> None:
    delivery = Delivery("dlv_1", TENANT, "evt_1", USER, Subject(Kind.BOOKING_CONFIRMED), Status.QUEUED, attempts, AT)
    assert delivery.next_try(AT) == AT + timedelta(seconds=seconds)


def test_events_say_who_is_told_what() -> None:
    issued = OtpIssued(user_id=USER, challenge_id=CHALLENGE, purpose=OtpIssued.Purpose.VERIFY_EMAIL)
    issued.expire_time.FromDatetime(AT)
    assert wire.told(issued) == (USER, Subject(Kind.VERIFY_EMAIL, challenge_id=CHALLENGE, expire_time=AT))
    known = OtpIssued(user_id=USER, purpose=OtpIssued.Purpose.ALREADY_REGISTERED)
    assert wire.told(known) == (USER, Subject(Kind.ALREADY_REGISTERED))
    booking = BookingSnapshot(user_id=USER, booking_id=BOOKING)
    assert wire.told(BookingConfirmed(booking=booking)) == (USER, Subject(Kind.BOOKING_CONFIRMED, BOOKING))
    cancelled = BookingCancelled(booking=booking, refund_amount=MoneyMessage(currency_code="EUR", amount="10.00"))
    assert wire.told(cancelled) == (USER, Subject(Kind.BOOKING_CANCELLED, BOOKING, refund=Money("EUR", 1000)))
    failed = PaymentAttemptFailed(user_id=USER, payment=Payment(booking_id=BOOKING))
    assert wire.told(failed) == (USER, Subject(Kind.PAYMENT_FAILED, BOOKING))


def test_events_that_concern_nobody_tell_nobody() -> None:
    assert wire.told(UserVerified(user_id=USER)) is None
    assert wire.told(OtpIssued(user_id=USER, purpose=99)) is None  # type: ignore[arg-type]  # a newer auth's purpose


def mail(**changed: str) -> Mail:
    values = {
        "message_id": "<1@b.example>",
        "to": "ada@example.org",
        "subject": "Hällo",
        "text": "ä",
        "html": "<p>ä</p>",
    }
    return Mail(**(values | changed), language="en", date=AT)


def test_a_mail_sent_again_is_the_same_to_the_byte() -> None:
    content = compose(mail(), "b@b.example")
    assert content == compose(mail(), "b@b.example")
    assert b"Message-ID: <1@b.example>" in content
    assert b"Auto-Submitted: auto-generated" in content


@pytest.mark.parametrize(
    "changed",
    [
        {"to": "ada@example.org\r\nBcc: eve@example.org"},
        {"to": "ada@example.org, eve@example.org"},
        {"to": "nobody"},
        {"to": ""},
        {"subject": "a\r\nBcc: eve@example.org"},
    ],
)
def test_what_could_forge_a_header_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(MailRefused):
        compose(mail(**changed), "b@b.example")
