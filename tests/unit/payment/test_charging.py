"""Begin, try again, read, cancel: each with what may be lost, repeated or raced on the way."""

from dataclasses import replace

import pytest

from services.chassis.errors import DependencyUnavailable, IdempotencyKeyReused, InvalidField, NotFound
from services.chassis.money import Money
from services.payment.domain.ledger import AccountKind
from services.payment.domain.payments import (
    QUIET,
    PaymentAttemptFailed,
    PaymentCancelled,
    PaymentStateInvalid,
    PaymentSucceeded,
    PaymentTokenInvalid,
    Status,
    attempted,
    follow,
)
from services.payment.ports import DuePayment
from services.payment.usecases.charging import (
    Charge,
    StartPayment,
    attempt_payment,
    cancel_payment,
    get_charge,
    start_payment,
)
from services.payment.usecases.hearing import reconcile
from tests.ports.payment.fakes import BOOKING_SERVICE, TENANT, USER, VENDOR, World, booking_id

BOOKING = booking_id()


async def start(world: World, token: str = "pm_visa", minor: int = 15000, step: str = "book", **more: bool) -> Charge:
    command = StartPayment(BOOKING, step, Money("EUR", minor), USER, VENDOR, token, **more)
    return await start_payment(world.ports, BOOKING_SERVICE, command)


def facts(world: World) -> list[str]:
    return [type(fact).__name__ for fact in world.payments.facts]


async def reconcile_all(world: World) -> None:
    for row in list(world.payments.rows.values()):
        await reconcile(world.ports, DuePayment(row.tenant_id, row.payment_id))


def only(world: World) -> Status:
    (row,) = world.payments.rows.values()
    return row.status


async def test_a_token_that_pays_at_once(world: World) -> None:
    payment, secret = await start(world)
    assert payment is not None
    assert (payment.status, payment.captured, secret) == (Status.SUCCEEDED, Money("EUR", 15000), "")
    assert payment.payment_id.startswith("pay_")
    assert payment.payment_id[-2:] == BOOKING[-2:], "it inherits the booking's shard"
    assert facts(world) == ["PaymentSucceeded"]
    assert world.payments.balance(AccountKind.PROVIDER_CLEARING) == 15000 - 30
    assert world.payments.balance(AccountKind.VENDOR_PAYABLE) == -15000
    assert world.payments.balance(AccountKind.PROVIDER_FEES) == 30
    assert world.provider.calls == ["create"], "one call to the provider, no more"


async def test_without_a_token_the_client_finishes_by_the_secret(world: World) -> None:
    payment, secret = await start(world, token="")
    assert payment is not None
    assert (payment.status, secret) == (Status.REQUIRES_PAYMENT_METHOD, "pi_0_s")
    assert facts(world) == []
    assert (await get_charge(world.ports, BOOKING_SERVICE, BOOKING, refresh=False)).client_secret == "pi_0_s"


async def test_the_same_step_answers_the_same_payment(world: World) -> None:
    first, again = await start(world), await start(world)
    assert first == again
    assert world.provider.charges == 1
    other, _ = await start(world, step="change-1")
    assert other is not None
    assert first.payment is not None
    assert other.payment_id != first.payment.payment_id
    with pytest.raises(IdempotencyKeyReused):
        await start(world, minor=15001)


async def test_a_decline_is_an_answer_and_stays_payable(world: World) -> None:
    payment, secret = await start(world, token="pm_declines")
    assert payment is not None
    assert (payment.status, payment.last_error) == (Status.REQUIRES_PAYMENT_METHOD, "card_declined")
    assert secret
    again, _ = await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a1", "pm_declines")
    assert again is not None
    assert again.status is Status.REQUIRES_PAYMENT_METHOD
    paid, _ = await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a2", "pm_visa")
    assert paid is not None
    assert (paid.status, paid.last_error) == (Status.SUCCEEDED, "")
    assert facts(world) == ["PaymentAttemptFailed", "PaymentAttemptFailed", "PaymentSucceeded"]
    repeated, _ = await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a2", "pm_visa")
    assert repeated == paid


async def test_the_same_attempt_is_not_tried_twice(world: World) -> None:
    await start(world, token="")
    for _ in range(2):
        await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a1", "pm_declines")
    assert world.provider.charges == 1
    assert facts(world) == ["PaymentAttemptFailed"]


@pytest.mark.parametrize("success", [True, False])
async def test_3d_secure_waits_for_the_payer(world: World, success: bool) -> None:
    payment, secret = await start(world, token="pm_3ds")
    assert payment is not None
    assert payment.status is Status.REQUIRES_ACTION
    assert secret
    world.provider.authenticate(payment, success=success)
    after = await get_charge(world.ports, BOOKING_SERVICE, BOOKING, refresh=True)
    assert after.payment is not None
    assert after.payment.status is (Status.SUCCEEDED if success else Status.REQUIRES_PAYMENT_METHOD)
    assert facts(world) == ["PaymentSucceeded" if success else "PaymentAttemptFailed"]


async def test_manual_capture_is_authorised_only(world: World) -> None:
    payment, _ = await start(world, manual_capture=True)
    assert payment is not None
    assert (payment.status, payment.captured.minor) == (Status.REQUIRES_CAPTURE, 0)
    assert facts(world) == []
    cancelled, _ = await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
    assert cancelled is not None
    assert cancelled.status is Status.CANCELLED


async def test_a_lost_answer_is_settled_by_the_reconciler_and_charges_once(world: World) -> None:
    world.provider.faults.append("lost")
    payment, _ = await start(world)
    assert payment is not None
    assert payment.status is Status.PROCESSING
    await reconcile_all(world)
    assert only(world) is Status.SUCCEEDED
    assert world.provider.charges == 1
    assert facts(world) == ["PaymentSucceeded"]


async def test_a_lost_answer_is_settled_by_the_same_call_again(world: World) -> None:
    world.provider.faults.append("lost")
    await start(world)
    payment, _ = await start(world)
    assert payment is not None
    assert payment.status is Status.SUCCEEDED
    assert world.provider.charges == 1


async def test_a_saved_error_that_charged_is_found_at_once(world: World) -> None:
    world.provider.faults.append("useless")
    payment, _ = await start(world)
    assert payment is not None
    assert payment.status is Status.SUCCEEDED
    assert world.provider.charges == 1


async def test_a_saved_error_that_did_nothing_is_begun_anew_once_all_is_quiet(world: World) -> None:
    world.provider.faults.append("useless_dead")
    payment, _ = await start(world)
    assert payment is not None
    assert payment.status is Status.PROCESSING
    await start(world)
    assert only(world) is Status.PROCESSING, "the provider may still be at it"
    world.clock.advance(QUIET)
    await reconcile_all(world)
    assert only(world) is Status.REQUIRES_PAYMENT_METHOD
    assert facts(world) == ["PaymentAttemptFailed"], "tokens are not stored: the payer is asked to try again"
    paid, _ = await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a1", "pm_visa")
    assert paid is not None
    assert paid.status is Status.SUCCEEDED
    assert world.provider.charges == 1


async def test_nobody_begins_anew_while_a_call_is_under_way(world: World) -> None:
    world.provider.faults.append("dead")
    await start(world)
    world.clock.advance(QUIET)
    (stored,) = world.payments.rows.values()
    # Another process notes that it asks again, just before the reconciler would give the first call up.
    world.payments.before_save.append(attempted(stored, world.clock.now()))
    await reconcile_all(world)
    assert only(world) is Status.PROCESSING
    assert world.provider.calls.count("create") == 1


async def test_unknown_tokens_and_amounts_are_refused_and_end_the_payment(world: World) -> None:
    with pytest.raises(PaymentTokenInvalid):
        await start(world, token="pm_unknown")
    with pytest.raises(InvalidField) as refused:
        await start(world, minor=49, step="small")
    assert [violation.field for violation in refused.value.violations] == ["amount"]
    with pytest.raises(InvalidField):
        await start(world, minor=0, step="nothing")
    assert {row.status for row in world.payments.rows.values()} == {Status.CANCELLED}
    with pytest.raises(PaymentStateInvalid) as over:
        await attempt_payment(world.ports, BOOKING_SERVICE, BOOKING, "a1", "pm_visa")
    assert over.value.metadata == {"status": "CANCELLED"}


async def test_cancelling_what_is_open_what_is_paid_and_what_never_was(world: World) -> None:
    assert await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING) == Charge(None)
    late, _ = await start(world)
    assert late is not None
    assert late.status is Status.CANCELLED, "a start that comes late starts nothing"
    assert world.provider.calls == []
    with pytest.raises(NotFound):
        await get_charge(world.ports, BOOKING_SERVICE, booking_id(), refresh=False)


async def test_a_paid_payment_is_answered_as_paid(world: World) -> None:
    payment, _ = await start(world, token="pm_3ds")
    assert payment is not None
    world.provider.authenticate(payment)  # and the webhook is lost
    answered, _ = await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
    assert answered is not None
    assert answered.status is Status.SUCCEEDED
    assert facts(world) == ["PaymentSucceeded"]
    change, _ = await start(world, step="change-1")
    assert change is not None
    assert change.status is Status.SUCCEEDED, "a booking that turned out to be paid goes on"


async def test_an_open_payment_is_cancelled_once(world: World) -> None:
    await start(world, token="pm_declines")
    for _ in range(2):
        cancelled, secret = await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
        assert cancelled is not None
        assert (cancelled.status, secret) == (Status.CANCELLED, "")
    assert facts(world) == ["PaymentAttemptFailed", "PaymentCancelled"]
    assert isinstance(world.payments.facts[-1], PaymentCancelled)


async def test_cancelling_what_is_still_being_begun_waits_until_it_is_known(world: World) -> None:
    world.provider.faults.append("dead")
    await start(world)
    with pytest.raises(DependencyUnavailable):
        await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
    world.clock.advance(QUIET)
    cancelled, _ = await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
    assert cancelled is not None
    assert cancelled.status is Status.CANCELLED
    await reconcile_all(world)
    assert world.provider.cards == {}, "nobody begins it anew"


async def test_a_cancellation_that_overtakes_the_charge_leaves_the_truth(world: World) -> None:
    world.provider.faults.append("lost")
    await start(world)
    answered, _ = await cancel_payment(world.ports, BOOKING_SERVICE, BOOKING)
    assert answered is not None
    assert answered.status is Status.SUCCEEDED


async def test_who_loses_a_race_asks_the_provider_again(world: World) -> None:
    payment, _ = await start(world, token="pm_3ds")
    assert payment is not None
    stale = world.provider.cards["pi_0"].intent
    world.provider.authenticate(payment)
    paid = follow(payment, world.provider.cards["pi_0"].intent, world.clock.now())
    assert paid is not None
    # We hold an old answer, and another process stores the new one just before us.
    world.payments.before_save.append(paid)
    world.provider.cards["pi_0"].intent = replace(stale, last_error="odd", status=Status.REQUIRES_PAYMENT_METHOD)
    again = await get_charge(world.ports, BOOKING_SERVICE, BOOKING, refresh=True)
    assert again.payment is not None
    assert again.payment.status is Status.SUCCEEDED
    assert isinstance(world.payments.facts[0], PaymentSucceeded)
    assert not any(isinstance(fact, PaymentAttemptFailed) for fact in world.payments.facts)


async def test_reading_goes_on_without_the_provider(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await start(world, token="pm_declines")

    async def out(*_: object) -> None:
        raise DependencyUnavailable

    monkeypatch.setattr(world.provider, "fetch", out)
    assert (await get_charge(world.ports, BOOKING_SERVICE, BOOKING, refresh=False)).client_secret == ""
    with pytest.raises(DependencyUnavailable):
        await get_charge(world.ports, BOOKING_SERVICE, BOOKING, refresh=True)


async def test_another_tenant_sees_nothing(world: World) -> None:
    await start(world)
    stranger = replace(BOOKING_SERVICE, tenant_id=TENANT[:-2] + "11")
    with pytest.raises(NotFound):
        await get_charge(world.ports, stranger, BOOKING, refresh=True)
