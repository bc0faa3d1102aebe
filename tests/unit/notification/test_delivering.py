"""From an occasion to a mail: once, in time, again after failures, and never to the wrong person."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.chassis.errors import NotFound
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.notification.domain import GIVE_UP_AFTER, LEASE, Code, Contact, Intake, Kind, Status
from services.notification.usecases import (
    deliver,
    list_deliveries,
    list_notifications,
    queue_message,
    read_notification,
    take_due,
)
from tests.ports.notification.fakes import AT, BOOKING, CHALLENGE, TENANT, USER, World, occasion, world


@pytest.fixture
def here() -> World:
    return world()


async def run(here: World) -> list[Status]:
    return [await deliver(here.ports, delivery) for delivery in await take_due(here.ports, 10)]


async def test_a_confirmation_says_what_when_and_which_code(here: World) -> None:
    assert await queue_message(here.ports, occasion()) is Intake.QUEUED
    assert await run(here) == [Status.SENT]
    (mail,) = here.mailer.sent
    assert mail.to == "ada@example.org"
    assert mail.subject == "Confirmed: Room with a view, Fri 14 June 2030, 15:00 to 16:30 (Europe/Berlin)"
    for part in ("Hello Ada,", "150.00 EUR", "K7QX2M", "Demo Stays"):
        assert part in mail.text
        assert part in mail.html
    (row,) = here.deliveries.rows.values()
    assert (row.status, row.attempts, row.sent_time, row.last_error) == (Status.SENT, 1, AT, "")


@pytest.mark.parametrize(
    ("kind", "refund", "says"),
    [
        (Kind.BOOKING_CANCELLED, Money("EUR", 7500), "You get 75.00 EUR back"),
        (Kind.BOOKING_CANCELLED, Money("EUR", 0), "nothing is given back"),
        (Kind.BOOKING_CANCELLED, None, "nothing is given back"),
        (Kind.BOOKING_EXPIRED, Money("EUR", 15000), "You get 150.00 EUR back"),
        (Kind.BOOKING_EXPIRED, None, "You were not charged"),
        (Kind.PAYMENT_FAILED, None, "was declined"),
    ],
)
async def test_other_news_of_bookings_says_what_happens_to_the_money(
    here: World, kind: Kind, refund: Money | None, says: str
) -> None:
    await queue_message(here.ports, occasion(kind, refund=refund))
    assert await run(here) == [Status.SENT]
    assert says in here.mailer.sent[0].text


async def test_the_same_event_again_tells_nobody_again(here: World) -> None:
    assert await queue_message(here.ports, occasion()) is Intake.QUEUED
    assert await queue_message(here.ports, occasion()) is Intake.REPEATED
    await run(here)
    assert await queue_message(here.ports, occasion()) is Intake.REPEATED
    assert await run(here) == []
    assert len(here.mailer.sent) == 1


async def test_older_news_than_was_told_is_not_told(here: World) -> None:
    await queue_message(here.ports, occasion(Kind.BOOKING_CANCELLED, event_id="evt_2", version=3))
    assert await queue_message(here.ports, occasion(event_id="evt_1", version=2)) is Intake.STALE
    await run(here)
    assert [mail.subject.partition(":")[0] for mail in here.mailer.sent] == ["Cancelled"]


async def test_a_code_is_mailed_and_kept_nowhere(here: World) -> None:
    await queue_message(here.ports, occasion(Kind.VERIFY_EMAIL, key=USER, expire_time=AT + timedelta(minutes=10)))
    assert await run(here) == [Status.SENT]
    assert "123456" in here.mailer.sent[0].text
    assert "10 minutes" in here.mailer.sent[0].text
    assert here.inbox.rows == {}
    assert "123456" not in repr(here.deliveries.rows)


@pytest.mark.parametrize("how", ["the event says so", "auth says so", "auth forgot it"])
async def test_a_code_that_has_expired_is_dropped_not_sent_late(here: World, how: str) -> None:
    expires = AT + timedelta(hours=1) if how != "the event says so" else AT + timedelta(minutes=10)
    await queue_message(here.ports, occasion(Kind.VERIFY_EMAIL, key=USER, expire_time=expires))
    if how == "auth forgot it":
        here.people.codes.clear()
    here.clock.advance(timedelta(minutes=10))
    assert await run(here) == [Status.DROPPED]
    assert here.mailer.sent == []


async def test_who_registers_again_is_told_without_a_code(here: World) -> None:
    await queue_message(here.ports, occasion(Kind.ALREADY_REGISTERED, key=USER, challenge_id=""))
    assert await run(here) == [Status.SENT]
    assert "123456" not in here.mailer.sent[0].text


async def test_a_person_who_is_gone_gets_nothing(here: World) -> None:
    here.people.contacts.clear()
    await queue_message(here.ports, occasion())
    assert await run(here) == [Status.DROPPED]
    (row,) = here.deliveries.rows.values()
    assert row.last_error == "the person is gone"


async def test_while_mail_is_out_messages_wait_and_then_go_once_with_the_same_id(here: World) -> None:
    here.mailer.out = True
    await queue_message(here.ports, occasion())
    tries = 0
    while here.clock.now() < AT + timedelta(minutes=10):
        tries += len(await run(here))
        here.clock.advance(timedelta(seconds=1))
    assert 10 <= tries <= 20, "it tries soon at first, and then once a minute"
    here.mailer.out = False
    here.clock.advance(timedelta(seconds=60))
    assert await run(here) == [Status.SENT]
    here.clock.advance(timedelta(days=1))
    assert await run(here) == []
    assert [mail.message_id for mail in here.mailer.sent] == [f"<evt_1.{USER}@berth.example>"]
    assert len(here.inbox.rows) == 1


async def test_news_reaches_the_inbox_even_while_mail_is_out(here: World) -> None:
    here.mailer.out = True
    await queue_message(here.ports, occasion())
    await run(here)
    (notification,) = here.inbox.rows.values()
    assert notification.title.startswith("Confirmed: Room with a view")
    assert "Ada" not in notification.body
    assert notification.booking_id == BOOKING


async def test_after_a_day_it_gives_up(here: World) -> None:
    here.mailer.out = True
    await queue_message(here.ports, occasion())
    await run(here)
    here.clock.advance(GIVE_UP_AFTER)
    assert await run(here) == [Status.FAILED]
    (row,) = here.deliveries.rows.values()
    assert row.last_error == "DEPENDENCY_UNAVAILABLE"


async def test_what_the_server_will_never_take_is_not_tried_again(here: World) -> None:
    here.mailer.refuses.add("ada@example.org")
    await queue_message(here.ports, occasion())
    assert await run(here) == [Status.FAILED]
    assert "ada" not in repr(here.deliveries.rows)


async def test_a_message_we_cannot_handle_waits_and_the_others_go(here: World) -> None:
    other = "usr_01jvc0000000000000000000vb"
    here.people.contacts[other] = Contact("bob@example.org", "Bob", "en", "Demo Stays")
    del here.people.contacts[USER]
    here.people.contacts[USER] = None  # type: ignore[assignment]  # the planted fault
    await queue_message(here.ports, occasion(event_id="evt_1"))
    await queue_message(here.ports, occasion(event_id="evt_2", version=2, user_id=other))
    assert sorted(await run(here)) == [Status.QUEUED, Status.SENT]
    assert [mail.to for mail in here.mailer.sent] == ["bob@example.org"]


async def test_whoever_dies_with_a_message_in_hand_leaves_it_to_others(here: World) -> None:
    await queue_message(here.ports, occasion())
    assert len(await take_due(here.ports, 10)) == 1
    assert await run(here) == []
    here.clock.advance(LEASE)
    assert await run(here) == [Status.SENT]


async def test_codes_go_before_everything_else(here: World) -> None:
    await queue_message(here.ports, occasion(event_id="evt_1"))
    await queue_message(here.ports, occasion(Kind.VERIFY_EMAIL, event_id="evt_2", key=USER))
    (first,) = await take_due(here.ports, 1)
    assert first.subject.kind is Kind.VERIFY_EMAIL


@pytest.mark.parametrize(
    "name",
    [
        "Ada\r\nBcc: eve@example.org",
        "<script>alert(1)</script>",
        "$code ${code}",
        "{{7*7}}",
        "=cmd|' /C calc'!A0",
        "\u202eadA",
    ],
)
async def test_names_are_only_words(here: World, name: str) -> None:
    here.people.contacts[USER] = Contact("ada@example.org", name, "en", name)
    here.bookings.bookings[BOOKING] = here.bookings.bookings[BOOKING].__class__(
        resource_name=name, confirmation_code="K7QX2M", total=None, time_zone="UTC"
    )
    await queue_message(here.ports, occasion())
    assert await run(here) == [Status.SENT]
    (mail,) = here.mailer.sent
    assert "\r" not in mail.subject
    assert "\n" not in mail.subject
    assert "\nBcc:" not in mail.text
    assert "<script>" not in mail.html
    assert "\u202e" not in mail.text
    assert "123456" not in mail.text


async def test_people_read_their_own_messages_only(here: World) -> None:
    other = "usr_01jvc0000000000000000000vb"
    here.people.contacts[other] = here.people.contacts[USER]
    for number in range(1, 6):
        await queue_message(here.ports, occasion(event_id=f"evt_{number}", key=f"bkg_{number}"))
        await run(here)
        here.clock.advance(timedelta(seconds=1))
    me, you = Principal("user", TENANT, USER), Principal("user", TENANT, other)
    first, more = await list_notifications(here.ports, me, "", 3, unread=False)
    rest, end = await list_notifications(here.ports, me, first[-1].notification_id, 3, unread=False)
    assert [row.event_id for row in (*first, *rest)] == ["evt_5", "evt_4", "evt_3", "evt_2", "evt_1"]
    assert (more, end) == (True, False)
    assert await list_notifications(here.ports, you, "", 3, unread=False) == ([], False)

    target = first[0].notification_id
    with pytest.raises(NotFound):
        await read_notification(here.ports, you, target, None)
    read = await read_notification(here.ports, me, target, None)
    here.clock.advance(timedelta(hours=1))
    again = await read_notification(here.ports, me, target, None)
    assert again.read_time == read.read_time is not None
    unread, _ = await list_notifications(here.ports, me, "", 10, unread=True)
    assert target not in {row.notification_id for row in unread}


async def test_administrators_see_their_tenants_deliveries(here: World) -> None:
    await queue_message(here.ports, occasion())
    await run(here)
    mine, _ = await list_deliveries(here.ports, Principal("user", TENANT, "usr_admin"), "", 10, None)
    assert [row.status for row in mine] == [Status.SENT]
    queued, _ = await list_deliveries(here.ports, Principal("user", TENANT, "usr_admin"), "", 10, Status.QUEUED)
    assert queued == []
    theirs, _ = await list_deliveries(here.ports, Principal("user", "ten_other", "usr_admin"), "", 10, None)
    assert theirs == []


async def test_a_code_about_to_end_still_says_a_minute(here: World) -> None:
    here.people.codes[CHALLENGE] = Code("654321", AT + timedelta(seconds=30))
    await queue_message(here.ports, occasion(Kind.VERIFY_EMAIL, key=USER))
    await run(here)
    assert "1 minute." in here.mailer.sent[0].text
