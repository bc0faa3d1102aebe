"""The rules themselves: entries balance, states go forward, whatever the provider says in whatever order."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.money import Money
from services.payment.domain.ledger import AccountKind, Entry, EntryKind, Line
from services.payment.domain.payments import (
    Payment,
    PaymentSucceeded,
    ProviderIntent,
    ProviderRefund,
    RefundStatus,
    Status,
    ask_refund,
    follow,
    follow_refund,
    next_check,
)
from tests.ports.payment.fakes import START, TENANT, USER, VENDOR

EUR = Money.zero("EUR")
NEW = Payment(
    payment_id="pay_1",
    tenant_id=TENANT,
    booking_id="bkg_1",
    step="book",
    user_id=USER,
    vendor_id=VENDOR,
    amount=Money("EUR", 15000),
    manual_capture=False,
    status=Status.PROCESSING,
    captured=EUR,
    create_time=START,
    update_time=START,
    attempt_time=START,
)


def said(status: Status, error: str = "") -> ProviderIntent:
    captured = Money("EUR", 15000 if status is Status.SUCCEEDED else 0)
    return ProviderIntent("pi_1", status, captured, EUR, last_error=error)


@given(st.lists(st.sampled_from([said(status) for status in Status] + [said(Status.REQUIRES_PAYMENT_METHOD, "no")])))
def test_no_sequence_of_answers_takes_money_or_success_back(answers: list[ProviderIntent]) -> None:
    payment, successes = NEW, 0
    for answer in answers:
        change = follow(payment, answer, START)
        if change is None:
            continue
        assert change.payment.version == payment.version + 1
        assert change.payment.captured >= payment.captured
        successes += sum(isinstance(fact, PaymentSucceeded) for fact in change.facts)
        if payment.status is Status.SUCCEEDED:
            assert change.payment.status is Status.SUCCEEDED
        payment = change.payment
    assert successes == (payment.status is Status.SUCCEEDED)
    assert (payment.status is Status.SUCCEEDED) == any(answer.status is Status.SUCCEEDED for answer in answers)


def test_the_same_answer_twice_is_nothing_new() -> None:
    once = follow(NEW, said(Status.SUCCEEDED), START)
    assert once is not None
    assert follow(once.payment, said(Status.SUCCEEDED), START) is None


def test_the_fee_may_come_later() -> None:
    once = follow(NEW, said(Status.SUCCEEDED), START)
    assert once is not None
    assert [entry.kind for entry in once.entries] == [EntryKind.CAPTURE]
    assert once.check_time is not None, "the reconciler asks for the fee"
    later = follow(once.payment, replace(said(Status.SUCCEEDED), fee=Money("EUR", 465)), START)
    assert later is not None
    assert [entry.kind for entry in later.entries] == [EntryKind.FEE]
    assert later.facts == ()
    assert later.check_time is None


def test_an_entry_balances_in_each_currency() -> None:
    clearing, payable = AccountKind.PROVIDER_CLEARING, AccountKind.VENDOR_PAYABLE
    with pytest.raises(ValueError, match="does not balance"):
        Entry(EntryKind.CAPTURE, (Line(clearing, Money("EUR", 5)), Line(payable, Money("EUR", -4), VENDOR)))
    with pytest.raises(ValueError, match="does not balance"):
        Entry(EntryKind.CAPTURE, (Line(clearing, Money("EUR", 5)), Line(payable, Money("USD", -5), VENDOR)))
    with pytest.raises(ValueError, match="does not balance"):
        Entry(EntryKind.CAPTURE, (Line(clearing, EUR),))


def test_a_failed_refund_never_lives_again_and_a_given_one_is_not_pending_again() -> None:
    paid = follow(NEW, said(Status.SUCCEEDED), START)
    assert paid is not None
    asked = ask_refund(paid.payment, "rfd_1", "cancel", Money("EUR", 100), "", START)
    amount = Money("EUR", 100)
    given_back = follow_refund(
        asked.payment, asked.refunds[0], ProviderRefund("re_1", RefundStatus.SUCCEEDED, amount), START
    )
    assert given_back is not None
    pending = ProviderRefund("re_1", RefundStatus.PENDING, amount)
    assert follow_refund(given_back.payment, given_back.refunds[0], pending, START) is None
    failed = follow_refund(
        given_back.payment, given_back.refunds[0], ProviderRefund("re_1", RefundStatus.FAILED, amount), START
    )
    assert failed is not None
    assert [entry.kind for entry in failed.entries] == [EntryKind.REFUND_FAILURE]
    assert follow_refund(failed.payment, failed.refunds[0], pending, START) is None


@pytest.mark.parametrize(
    ("payment", "seconds"),
    [
        (NEW, 5),
        (replace(NEW, status=Status.REQUIRES_ACTION), 60),
        (replace(NEW, status=Status.REQUIRES_ACTION, cancel_wanted=True), 5),
        (replace(NEW, status=Status.SUCCEEDED), 60),
        (replace(NEW, status=Status.SUCCEEDED, fee=EUR), None),
        (replace(NEW, status=Status.CANCELLED), None),
    ],
)
def test_when_a_payment_is_looked_at_again(payment: Payment, seconds: int | None) -> None:
    expected = None if seconds is None else START + timedelta(seconds=seconds)
    assert next_check(payment, START) == expected
