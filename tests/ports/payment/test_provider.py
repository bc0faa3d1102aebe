"""One behaviour of the provider, on the fake and on the official SDK against the stand-in for Stripe."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.doubles.stripe import intents
from infra.doubles.stripe.account import Account
from infra.doubles.stripe.faults import Fault
from infra.doubles.stripe.server import Options, serving
from infra.doubles.stripe.webhooks import signature
from infra.local import pki
from services.chassis.clock import SystemClock
from services.chassis.errors import DependencyUnavailable
from services.chassis.ids import new_id
from services.chassis.money import Money
from services.payment.clients.stripe import StripeProvider
from services.payment.clients.transport import Transport
from services.payment.domain.payments import (
    Payment,
    PaymentTokenInvalid,
    Refund,
    RefundStatus,
    SignatureInvalid,
    Status,
)
from services.payment.ports import AmountRefused, AnswerUseless, OutcomeUnknown, Provider, RefundRefused
from tests.ports.payment.fakes import TENANT, USER, VENDOR, FakeProvider, booking_id

SECRET = "whsec_test"


@dataclass
class Subject:
    """A provider, the names of its test cards, and ways to trouble it."""

    provider: Provider
    visa: str
    declines: str
    three_d_secure: str
    unknown: str
    trouble: Callable[[str], None]
    authenticate: Callable[[Payment], None]


Connect = Callable[..., StripeProvider]


@pytest.fixture
async def double() -> AsyncIterator[Account]:
    async with serving(Options(port=0, api_key="sk_test_1", webhook_secret=SECRET)) as account:
        yield account


@pytest.fixture
async def connect(double: Account) -> AsyncIterator[Connect]:
    """Makes providers that speak to the double, and closes them."""
    async with AsyncExitStack() as closing:

        def connected(
            key: str = "sk_test_1", url: str = "", retries: int = 0, ahead: timedelta = timedelta()
        ) -> StripeProvider:
            provider = StripeProvider(
                key,
                url or double.public_url,
                ("whsec_old", SECRET),
                SystemClock(ahead),
                timeout_seconds=1,
                retries=retries,
            )
            closing.push_async_callback(provider.close)
            return provider

        yield connected


@pytest.fixture(params=["fake", "stripe"])
async def subject(request: pytest.FixtureRequest, double: Account, connect: Connect) -> AsyncIterator[Subject]:
    if request.param == "fake":
        fake = FakeProvider()
        yield Subject(
            fake,
            "pm_visa",
            "pm_declines",
            "pm_3ds",
            "pm_unknown",
            fake.faults.append,
            fake.authenticate,
        )
        return
    modes = {"lost": "timeout", "dead": "drop", "useless": "saved_500"}

    def authenticate(payment: Payment) -> None:
        with double.store.transaction():
            intents.authenticate(double, payment.provider_intent_id or "", success=True)

    yield Subject(
        connect(),
        "pm_card_visa",
        "tok_chargeDeclined",
        "pm_card_threeDSecure2Required",
        "pm_nothing",
        lambda fault: double.faults.add(Fault("calls", modes[fault], seconds=2 if fault == "lost" else 0)),
        authenticate,
    )


def new_payment(*, manual: bool = False, minor: int = 15000) -> Payment:
    at = datetime.now(UTC)
    return Payment(
        payment_id=new_id("pay", at=at),
        tenant_id=TENANT,
        booking_id=booking_id(),
        step="book",
        user_id=USER,
        vendor_id=VENDOR,
        amount=Money("EUR", minor),
        manual_capture=manual,
        status=Status.PROCESSING,
        captured=Money.zero("EUR"),
        create_time=at,
        update_time=at,
        attempt_time=at,
    )


def refund_of(payment: Payment, minor: int) -> Refund:
    at = payment.create_time
    return Refund(new_id("rfd", at=at), "cancel", Money("EUR", minor), RefundStatus.PENDING, "", at, at, at)


async def begun(subject: Subject, token: str, *, manual: bool = False) -> Payment:
    payment = new_payment(manual=manual)
    intent = await subject.provider.create(payment, token)
    return replace(payment, provider_intent_id=intent.intent_id)


async def test_charging_at_once(subject: Subject) -> None:
    payment = new_payment()
    intent = await subject.provider.create(payment, subject.visa)
    assert (intent.status, intent.captured) == (Status.SUCCEEDED, Money("EUR", 15000))
    assert intent.fee is not None
    assert intent.charge_id
    assert await subject.provider.create(payment, subject.visa) == intent
    assert await subject.provider.fetch(payment) == intent, "found by our id"
    assert await subject.provider.fetch(new_payment()) is None


async def test_a_decline_is_an_answer_and_another_card_may_follow(subject: Subject) -> None:
    payment = new_payment()
    declined = await subject.provider.create(payment, subject.declines)
    assert (declined.status, declined.last_error) == (Status.REQUIRES_PAYMENT_METHOD, "card_declined")
    assert declined.client_secret
    payment = replace(payment, provider_intent_id=declined.intent_id)
    again = await subject.provider.confirm(payment, "a1", subject.declines)
    assert again.charge_id != declined.charge_id
    assert await subject.provider.confirm(payment, "a1", subject.declines) == again, "an attempt is made once"
    paid = await subject.provider.confirm(payment, "a2", subject.visa)
    assert (paid.status, paid.last_error) == (Status.SUCCEEDED, "")


async def test_3d_secure(subject: Subject) -> None:
    payment = await begun(subject, subject.three_d_secure)
    waiting = await subject.provider.fetch(payment)
    assert waiting is not None
    assert waiting.status is Status.REQUIRES_ACTION
    subject.authenticate(payment)
    paid = await subject.provider.fetch(payment)
    assert paid is not None
    assert paid.status is Status.SUCCEEDED


async def test_manual_capture_and_cancel(subject: Subject) -> None:
    payment = await begun(subject, subject.visa, manual=True)
    held = await subject.provider.fetch(payment)
    assert held is not None
    assert (held.status, held.captured.minor) == (Status.REQUIRES_CAPTURE, 0)
    for _ in range(2):
        assert (await subject.provider.cancel(payment)).status is Status.CANCELLED
    paid = await begun(subject, subject.visa)
    assert (await subject.provider.cancel(paid)).status is Status.SUCCEEDED


async def test_refunds(subject: Subject) -> None:
    payment = await begun(subject, subject.visa)
    part = refund_of(payment, 4000)
    given = await subject.provider.refund(payment, part)
    assert (given.status, given.amount, given.refund_id) == (RefundStatus.SUCCEEDED, part.amount, part.refund_id)
    assert await subject.provider.refund(payment, part) == given
    with pytest.raises(RefundRefused):
        await subject.provider.refund(payment, refund_of(payment, 11001))
    assert await subject.provider.refunds(payment) == [given]
    after = await subject.provider.fetch(payment)
    assert after is not None
    assert after.refunded == Money("EUR", 4000)


async def test_what_it_does_not_take(subject: Subject) -> None:
    with pytest.raises(PaymentTokenInvalid):
        await subject.provider.create(new_payment(), subject.unknown)
    with pytest.raises(AmountRefused):
        await subject.provider.create(new_payment(minor=49), subject.visa)
    payment = await begun(subject, "")
    with pytest.raises(PaymentTokenInvalid):
        await subject.provider.confirm(payment, "a1", subject.unknown)


@pytest.mark.parametrize("trouble", ["lost", "dead"])
async def test_an_answer_that_does_not_come(subject: Subject, trouble: str) -> None:
    payment = new_payment()
    subject.trouble(trouble)
    with pytest.raises(OutcomeUnknown):
        await subject.provider.create(payment, subject.visa)
    found = await subject.provider.fetch(payment)
    assert (found is not None) == (trouble == "lost")
    assert (await subject.provider.create(payment, subject.visa)).status is Status.SUCCEEDED


async def test_an_error_that_is_saved(subject: Subject) -> None:
    payment = new_payment()
    subject.trouble("useless")
    for _ in range(2):
        with pytest.raises(AnswerUseless):
            await subject.provider.create(payment, subject.visa)
    found = await subject.provider.fetch(payment)
    assert found is not None
    assert found.status is Status.SUCCEEDED


# What only the real adapter can show.


@pytest.mark.parametrize("mode", ["conflict_409", "rate_limit_429", "error_500"])
async def test_a_provider_that_is_busy_is_asked_again_later(double: Account, connect: Connect, mode: str) -> None:
    provider, payment = connect(), new_payment()
    double.faults.add(Fault("calls", mode))
    with pytest.raises(DependencyUnavailable):
        await provider.create(payment, "pm_card_visa")
    assert (await provider.create(payment, "pm_card_visa")).status is Status.SUCCEEDED


async def test_the_sdk_retries_by_the_same_key(double: Account, connect: Connect) -> None:
    provider = connect(retries=1)
    double.faults.add(Fault("calls", "timeout", seconds=2))
    payment = new_payment()
    assert (await provider.create(payment, "pm_card_visa")).status is Status.SUCCEEDED
    kinds = [entry["kind"] for entry in double.store.ledger(0, 10, None)]
    assert kinds == ["charge", "capture"]


async def test_a_wrong_key_or_an_absent_provider_is_out(connect: Connect) -> None:
    wrong = connect("sk_test_2")
    with pytest.raises(DependencyUnavailable):
        await wrong.create(new_payment(), "pm_card_visa")
    absent = connect(url="http://127.0.0.1:9")
    with pytest.raises(DependencyUnavailable):
        await absent.fetch(new_payment())


async def test_a_provider_that_cannot_prove_who_it_is_hears_nothing(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    pauses: list[float] = []

    async def pause(_transport: Transport, seconds: float) -> None:
        pauses.append(seconds)

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    monkeypatch.setattr(Transport, "sleep_async", pause)
    pki.ensure(tmp_path, ["stripe"], datetime.now(UTC))
    mine = pki.pair(tmp_path, "stripe")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(mine.certificate, mine.key)
    async with await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        impostor = connect(url=f"https://127.0.0.1:{port}", retries=1)
        with pytest.raises(OutcomeUnknown):
            await impostor.create(new_payment(), "pm_card_visa")
    assert heard == []
    assert pauses == []  # the SDK does not try it again


async def test_a_proxy_of_the_environment_is_used(
    double: Account, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", double.public_url)
    monkeypatch.setenv("no_proxy", "")
    intent = await connect(url="http://stripe.invalid").create(new_payment(), "pm_card_visa")
    assert intent.status is Status.SUCCEEDED


async def test_the_metadata_names_what_is_paid(double: Account, connect: Connect) -> None:
    payment = new_payment()
    await connect().create(payment, "pm_card_visa")
    (entry, *_) = double.store.ledger(0, 10, None)
    assert entry["metadata"] == {
        "tenant_id": TENANT,
        "booking_id": payment.booking_id,
        "payment_id": payment.payment_id,
    }


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-400)])
async def test_an_intent_is_found_by_a_clock_that_shows_another_year(connect: Connect, ahead: timedelta) -> None:
    clock, provider = SystemClock(ahead), connect(ahead=ahead)
    payment = replace(new_payment(), create_time=clock.now(), attempt_time=clock.now())
    intent = await provider.create(payment, "pm_card_visa")
    assert await provider.fetch(payment) == intent


async def test_what_was_not_looked_through_is_not_taken_for_nothing(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = connect()
    await asyncio.gather(*(provider.create(new_payment(), "") for _ in range(3)))
    monkeypatch.setattr("services.payment.clients.stripe.PAGE", 1)
    monkeypatch.setattr("services.payment.clients.stripe.MAX_PAGES", 2)
    with pytest.raises(DependencyUnavailable):
        await provider.fetch(new_payment())


async def test_an_intent_is_found_among_many(connect: Connect) -> None:
    provider, wanted = connect(), new_payment()
    intent = await provider.create(wanted, "pm_card_visa")
    await asyncio.gather(*(provider.create(new_payment(), "") for _ in range(120)))
    assert await provider.fetch(wanted) == intent


def test_webhooks_are_verified_and_told_apart() -> None:
    provider = StripeProvider("sk_test_1", "http://127.0.0.1:9", ("whsec_old", SECRET), SystemClock())
    payment_id = new_id("pay", at=datetime.now(UTC))
    item = {"id": "pi_1", "object": "payment_intent", "metadata": {"payment_id": payment_id}}
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": 1,
        "data": {"object": item},
    }
    payload = json.dumps(event).encode()
    now = int(time.time())
    read = provider.read_event(payload, signature(SECRET, payload, now))
    assert (read.event_id, read.intent_id, read.payment_id) == ("evt_1", "pi_1", payment_id)
    refund = {"id": "re_1", "object": "refund", "payment_intent": "pi_1", "metadata": {"payment_id": "not ours"}}
    other = json.dumps({**event, "data": {"object": refund}}).encode()
    read = provider.read_event(other, signature("whsec_old", other, now))
    assert (read.object_id, read.intent_id, read.payment_id) == ("re_1", "pi_1", "")
    nonsense = b'{"id": 1}'
    for body, header in (
        (payload, ""),
        (payload, "t=1,v1=00"),
        (payload, signature("whsec_guess", payload, now)),
        (payload, signature(SECRET, payload, now - 3600)),
        (payload + b" ", signature(SECRET, payload, now)),
        (b"\xff", signature(SECRET, payload, now)),
        (nonsense, signature(SECRET, nonsense, now)),
        (b"", ""),
    ):
        with pytest.raises(SignatureInvalid):
            provider.read_event(body, header)


def test_nothing_shows_the_client_secret() -> None:
    fake = FakeProvider()
    intent = asyncio.run(fake.create(new_payment(), ""))
    assert intent.client_secret not in repr(intent)
