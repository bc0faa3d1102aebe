"""Money back: once per step or key, never more than there is, and by nobody else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.chassis.errors import IdempotencyKeyInvalid, IdempotencyKeyReused, InvalidField, NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.money import Money
from services.chassis.principal import Principal
from services.payment.domain.ledger import AccountKind
from services.payment.domain.payments import (
    Payment,
    PaymentStateInvalid,
    RefundExceedsPayment,
    RefundStatus,
    RefundUpdated,
)
from services.payment.ports import DuePayment
from services.payment.usecases.charging import StartPayment, start_payment
from services.payment.usecases.hearing import reconcile
from services.payment.usecases.reading import get_payment, list_booking_payments
from services.payment.usecases.refunding import CreateRefund, RefundPayment, create_refund, refund_payment
from tests.ports.payment.fakes import BOOKING_SERVICE, TENANT, USER, VENDOR, World, booking_id

BOOKING = booking_id()
OWNER = Principal("user", TENANT, "usr_owner", frozenset({"payments.refund"}), frozenset({VENDOR}))
ADMIN = Principal("user", TENANT, "usr_admin", frozenset({"payments.refund", "bookings.read_all"}))
PAYER = Principal("user", TENANT, USER, frozenset({"payments.read"}))
KEY = IdempotencyKey(TENANT, "usr_owner", "/CreateRefund", "k1", b"1")


async def paid(world: World, token: str = "pm_visa", step: str = "book") -> Payment:
    world.clock.advance(timedelta(seconds=1))
    command = StartPayment(BOOKING, step, Money("EUR", 15000), USER, VENDOR, token)
    payment = (await start_payment(world.ports, BOOKING_SERVICE, command)).payment
    assert payment is not None
    return payment


async def refund(world: World, minor: int, step: str = "cancel") -> Payment:
    command = RefundPayment(BOOKING, step, Money("EUR", minor), "cancelled")
    return await refund_payment(world.ports, BOOKING_SERVICE, command)


async def test_a_step_is_refunded_once(world: World) -> None:
    await paid(world)
    first = await refund(world, 10000)
    assert [one.status for one in first.refunds] == [RefundStatus.SUCCEEDED]
    assert first.refunded == Money("EUR", 10000)
    assert await refund(world, 10000) == first
    with pytest.raises(IdempotencyKeyReused):
        await refund(world, 9999)
    assert world.provider.calls.count("refund") == 1
    assert world.payments.balance(AccountKind.VENDOR_PAYABLE) == -5000
    updates = [fact.refund.status for fact in world.payments.facts if isinstance(fact, RefundUpdated)]
    assert updates == [RefundStatus.PENDING, RefundStatus.SUCCEEDED]


async def test_never_more_than_there_is(world: World) -> None:
    await paid(world)
    await refund(world, 10000)
    with pytest.raises(RefundExceedsPayment) as refused:
        await refund(world, 5001, "more")
    assert refused.value.metadata == {"refundable": "50.00 EUR"}
    with pytest.raises(InvalidField):
        await refund(world, 0, "nothing")
    with pytest.raises(RefundExceedsPayment):
        await refund_payment(world.ports, BOOKING_SERVICE, RefundPayment(BOOKING, "usd", Money("USD", 1)))
    assert (await refund(world, 5000, "rest")).refundable.minor == 0


async def test_what_was_not_captured_is_not_refunded(world: World) -> None:
    with pytest.raises(NotFound):
        await refund(world, 1)
    await paid(world, token="pm_declines")
    with pytest.raises(PaymentStateInvalid) as refused:
        await refund(world, 1)
    assert refused.value.metadata == {"status": "REQUIRES_PAYMENT_METHOD"}


async def test_a_success_that_nobody_told_us_of_is_refunded(world: World) -> None:
    payment = await paid(world, token="pm_3ds")
    world.provider.authenticate(payment)
    assert (await refund(world, 15000)).refundable.minor == 0


async def test_a_second_payment_of_the_booking_is_refunded_where_the_money_is(world: World) -> None:
    await paid(world)
    second = await paid(world, step="change-1")
    await refund(world, 15000, "first")
    assert (await refund(world, 15000, "second")).payment_id == second.payment_id


@pytest.mark.parametrize("fault", ["lost", "dead", "useless_dead"])
async def test_a_refund_whose_answer_is_lost_is_resumed(world: World, fault: str) -> None:
    await paid(world)
    world.provider.faults.append(fault)
    pending = await refund(world, 10000)
    assert [one.status for one in pending.refunds] == [RefundStatus.PENDING]
    assert pending.refunded == Money("EUR", 10000), "what is promised counts"
    for _ in range(2):
        world.clock.advance(timedelta(seconds=10))
        await reconcile(world.ports, DuePayment(TENANT, pending.payment_id))
    settled = await refund(world, 10000)
    assert [one.status for one in settled.refunds] == [RefundStatus.SUCCEEDED]
    assert len(world.provider.cards["pi_0"].refunds) == 1
    assert world.payments.balance(AccountKind.VENDOR_PAYABLE) == -5000


async def test_a_refund_that_comes_back_is_failed_and_booked_back(world: World) -> None:
    await paid(world)
    payment = await refund(world, 10000)
    card = world.provider.cards["pi_0"]
    card.refunds[0] = replace(card.refunds[0], status=RefundStatus.FAILED)
    card.intent = replace(card.intent, refunded=Money("EUR", 0))
    await reconcile(world.ports, DuePayment(TENANT, payment.payment_id))
    stored = world.payments.rows[payment.payment_id]
    assert [one.status for one in stored.refunds] == [RefundStatus.FAILED]
    assert stored.refunded.minor == 0
    assert world.payments.balance(AccountKind.VENDOR_PAYABLE) == -15000


async def test_a_refund_given_at_the_provider_itself_is_taken_over(world: World) -> None:
    payment = await paid(world)
    world.provider.refund_at_provider(payment, Money("EUR", 4000))
    for _ in range(2):
        await reconcile(world.ports, DuePayment(TENANT, payment.payment_id))
    stored = world.payments.rows[payment.payment_id]
    assert [(one.amount.minor, one.reason) for one in stored.refunds] == [(4000, "provider")]
    assert world.payments.balance(AccountKind.PROVIDER_CLEARING) == 15000 - 30 - 4000


async def test_a_refund_that_the_provider_refuses_is_failed(world: World) -> None:
    payment = await paid(world)
    world.provider.refund_at_provider(payment, Money("EUR", 15000))  # and we have not heard of it
    refused = await refund(world, 10000)
    assert [one.status for one in refused.refunds] == [RefundStatus.FAILED]
    await reconcile(world.ports, DuePayment(TENANT, payment.payment_id))
    assert world.payments.rows[payment.payment_id].refundable.minor == 0


async def test_a_vendors_people_and_administrators_refund_by_key(world: World) -> None:
    payment = await paid(world)
    command = CreateRefund(payment.payment_id, Money("EUR", 5000), "goodwill")
    first = await create_refund(world.ports, OWNER, command, KEY)
    assert await create_refund(world.ports, OWNER, command, KEY) == first
    with pytest.raises(IdempotencyKeyReused):
        await create_refund(world.ports, OWNER, command, replace(KEY, request_hash=b"2"))
    second = await create_refund(world.ports, ADMIN, command, replace(KEY, principal="usr_admin"))
    assert second.refund_id != first.refund_id
    with pytest.raises(IdempotencyKeyInvalid):
        await create_refund(world.ports, OWNER, command, None)
    assert world.payments.rows[payment.payment_id].refunded.minor == 10000


async def test_who_may_see_and_who_may_refund(world: World) -> None:
    payment = await paid(world)
    stranger = Principal("user", TENANT, "usr_other", frozenset({"payments.read", "payments.refund"}))
    foreign = replace(ADMIN, tenant_id="ten_other")
    for caller in (PAYER, OWNER, ADMIN):
        assert (await get_payment(world.ports, caller, payment.payment_id)).payment_id == payment.payment_id
        assert len(await list_booking_payments(world.ports, caller, BOOKING)) == 1
    for caller in (stranger, foreign):
        with pytest.raises(NotFound):
            await get_payment(world.ports, caller, payment.payment_id)
        assert await list_booking_payments(world.ports, caller, BOOKING) == []
    for caller in (stranger, foreign, PAYER):
        with pytest.raises(NotFound) as refused:
            await create_refund(world.ports, caller, CreateRefund(payment.payment_id, Money("EUR", 1)), KEY)
        assert refused.value.metadata == {"resource": "payment"}
