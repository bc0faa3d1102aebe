"""What booking relies on in inventory and payment: the fakes and the real services behave as one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.booking.domain import (
    BOOK_STEP,
    CANCEL_STEP,
    HoldEnded,
    Order,
    PaymentStatus,
    PaymentTokenInvalid,
    SlotTaken,
)
from services.booking.ports import Held, Mandate
from services.chassis.money import Money
from tests.ports.booking.conftest import Neighbours

TTL = timedelta(minutes=17)
DUE = Money("EUR", 15_001)


async def place(neighbours: Neighbours, mandate: Mandate, step: str = BOOK_STEP) -> Held:
    return await neighbours.inventory.place(mandate, step, Order(items=(neighbours.item,)), TTL)


async def test_a_hold_prices_what_was_asked_for_and_the_same_step_gets_the_same(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    held = await place(neighbours, mandate)
    (item,) = held.items
    assert (item.item, item.total) == (neighbours.item, held.total)
    assert item.begin_time < item.finish_time
    assert sum(line.amount.minor for line in item.lines) == held.total.minor
    assert await place(neighbours, mandate) == held


async def test_the_last_unit_is_kept_once(neighbours: Neighbours) -> None:
    await place(neighbours, neighbours.mandate())
    with pytest.raises(SlotTaken) as refused:
        await place(neighbours, neighbours.mandate())
    assert refused.value.metadata == {"resourceId": neighbours.item.resource_id, "available": "0"}


async def test_what_is_posted_stays_sold_until_it_is_cancelled(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    held = await place(neighbours, mandate)
    for _ in range(2):
        await neighbours.inventory.post(mandate, BOOK_STEP)
    assert await place(neighbours, mandate) == held
    with pytest.raises(HoldEnded):
        await neighbours.inventory.void(mandate, BOOK_STEP)
    for _ in range(2):
        await neighbours.inventory.cancel_posted(mandate, BOOK_STEP)
    for ended in (neighbours.inventory.post(mandate, BOOK_STEP), place(neighbours, mandate)):
        with pytest.raises(HoldEnded):
            await ended
    await neighbours.inventory.void(mandate, BOOK_STEP)
    await place(neighbours, neighbours.mandate())


async def test_what_is_voided_is_free_and_never_comes_back(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    await place(neighbours, mandate)
    for _ in range(2):
        await neighbours.inventory.void(mandate, BOOK_STEP)
    for ended in (neighbours.inventory.post(mandate, BOOK_STEP), place(neighbours, mandate)):
        with pytest.raises(HoldEnded):
            await ended
    with pytest.raises(HoldEnded):
        await neighbours.inventory.cancel_posted(mandate, BOOK_STEP)
    await place(neighbours, mandate, "late")


async def test_a_void_that_comes_first_is_remembered(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    await neighbours.inventory.void(mandate, BOOK_STEP)
    with pytest.raises(HoldEnded):
        await place(neighbours, mandate)
    await place(neighbours, neighbours.mandate())


async def test_what_was_never_kept_is_neither_sold_nor_freed(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    for never in (neighbours.inventory.post, neighbours.inventory.cancel_posted):
        with pytest.raises(HoldEnded):
            await never(mandate, BOOK_STEP)


async def test_a_token_that_pays_pays_once(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    first = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.pays)
    assert (first.status, first.client_secret) == (PaymentStatus.SUCCEEDED, "")
    again = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.pays)
    assert (again.payment_id, again.status) == (first.payment_id, PaymentStatus.SUCCEEDED)
    asked = await neighbours.payments.get(mandate, refresh=True)
    assert (asked.payment_id, asked.status) == (first.payment_id, PaymentStatus.SUCCEEDED)


async def test_a_decline_is_an_answer_and_another_method_pays(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    declined = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.declines)
    assert (declined.status, declined.last_error) == (PaymentStatus.REQUIRES_PAYMENT_METHOD, "card_declined")
    assert declined.client_secret
    paid = await neighbours.payments.attempt(mandate, "a1", neighbours.pays)
    assert (paid.status, paid.last_error) == (PaymentStatus.SUCCEEDED, "")
    assert paid.version > declined.version


async def test_without_a_token_the_secret_can_be_read_again(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    begun = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, "")
    assert begun.status is PaymentStatus.REQUIRES_PAYMENT_METHOD
    assert (await neighbours.payments.get(mandate, refresh=False)).client_secret == begun.client_secret != ""


async def test_an_unknown_token_is_refused_and_nothing_stays_payable(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    with pytest.raises(PaymentTokenInvalid):
        await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.unknown)
    assert (await neighbours.payments.cancel(mandate, "failed")).status is PaymentStatus.CANCELLED


async def test_a_cancelled_payment_is_over(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    begun = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, "")
    cancelled = await neighbours.payments.cancel(mandate, "expired")
    assert (cancelled.payment_id, cancelled.status) == (begun.payment_id, PaymentStatus.CANCELLED)
    assert cancelled.version > begun.version
    again = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.pays)
    assert again.status is PaymentStatus.CANCELLED


async def test_a_cancellation_that_comes_first_is_remembered(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    assert (await neighbours.payments.cancel(mandate, "expired")).status is PaymentStatus.CANCELLED
    late = await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.pays)
    assert late.status is PaymentStatus.CANCELLED


async def test_what_is_paid_is_not_cancelled_but_given_back_once(neighbours: Neighbours) -> None:
    mandate = neighbours.mandate()
    await neighbours.payments.start(mandate, neighbours.vendor_id, DUE, neighbours.pays)
    assert (await neighbours.payments.cancel(mandate, "expired")).status is PaymentStatus.SUCCEEDED
    half = Money("EUR", 7_501)
    for _ in range(2):
        charge = await neighbours.payments.refund(mandate, CANCEL_STEP, half, "cancelled")
        assert charge is not None
        (refund,) = charge.refunds
        assert (refund.amount, refund.reason) == (half, "cancelled")
    assert await neighbours.payments.refund(mandate, "more", DUE, "late") is None
