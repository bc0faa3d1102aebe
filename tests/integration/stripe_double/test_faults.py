"""What goes wrong at a provider: replayed keys, saved errors, lost answers, restarts."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe

PAY: Any = {"amount": 15000, "currency": "eur", "payment_method_types": ["card"]}
PAID: Any = {**PAY, "payment_method": "pm_card_visa", "confirm": True}


def test_a_key_replays_its_answer_and_refuses_other_parameters(double: Any, client: Any) -> None:
    options: Any = {"idempotency_key": "replay-1"}
    first = client.v1.payment_intents.create(PAID, options)
    again = client.v1.payment_intents.create(PAID, options)
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert double.ledger(first.id) == [("charge", 15000), ("capture", 15000)]
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as other:
        client.v1.payment_intents.create({**PAID, "amount": 15001}, options)
    assert other.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        client.v1.refunds.create({"payment_intent": first.id}, options)


def test_a_decline_is_replayed_but_bad_parameters_are_not_saved(client: Any) -> None:
    declining: Any = {**PAID, "payment_method": "pm_card_chargeDeclined"}
    made = set()
    for _ in range(2):
        with pytest.raises(stripe.CardError) as declined:
            client.v1.payment_intents.create(declining, {"idempotency_key": "declined-1"})
        error: Any = declined.value.error
        made.add(error.payment_intent.id)
    assert len(made) == 1
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({**PAY, "amount": 1}, {"idempotency_key": "bad-1"})
    assert client.v1.payment_intents.create(PAY, {"idempotency_key": "bad-1"}).amount == 15000


def test_a_timeout_after_the_effect_charges_once_when_the_key_is_sent_again(double: Any) -> None:
    double.fault(mode="timeout", match="payment_intents.create", seconds=3)
    paid = double.client(retries=2).v1.payment_intents.create(PAID, {"idempotency_key": "timeout-1"})
    assert paid.last_response is not None
    assert paid.last_response.headers["Idempotent-Replayed"] == "true"
    assert double.ledger(paid.id) == [("charge", 15000), ("capture", 15000)]


def test_a_saved_500_is_replayed_although_it_charged(double: Any) -> None:
    double.fault(mode="saved_500", match="payment_intents.create")
    client = double.client(retries=2)
    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            client.v1.payment_intents.create({**PAID, "metadata": {"of": "saved-500"}}, {"idempotency_key": "saved-1"})
        assert failed.value.http_status == 500
    newest = client.v1.payment_intents.list({"limit": 1}).data[0]
    assert newest.metadata["of"] == "saved-500"
    assert newest.status == "succeeded"
    assert double.ledger(newest.id) == [("charge", 15000), ("capture", 15000)]


@pytest.mark.parametrize("mode", ["error_500", "conflict_409", "drop"])
def test_a_fault_before_the_effect_is_retried_by_the_sdk(double: Any, mode: str) -> None:
    double.fault(mode=mode, match="payment_intents.*", times=1)
    paid = double.client(retries=1).v1.payment_intents.create(PAID, {"idempotency_key": f"before-{mode}"})
    assert double.ledger(paid.id) == [("charge", 15000), ("capture", 15000)]
    assert double.get("faults")["data"] == []


def test_429_is_told_and_saves_nothing(double: Any, client: Any) -> None:
    double.fault(mode="rate_limit_429", skip=1)
    client.v1.payment_intents.list()
    with pytest.raises(stripe.RateLimitError):
        client.v1.payment_intents.create(PAID, {"idempotency_key": "limited-1"})
    assert client.v1.payment_intents.create(PAID, {"idempotency_key": "limited-1"}).status == "succeeded"


def test_a_key_in_use_is_a_conflict(double: Any) -> None:
    double.fault(mode="latency", seconds=0.5, match="payment_intents.create")
    answers: list[Any] = []

    def pay() -> None:
        try:
            answers.append(double.client().v1.payment_intents.create(PAID, {"idempotency_key": "running-1"}).status)
        except stripe.APIError as error:
            answers.append(error.http_status)

    threads = [threading.Thread(target=pay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["409", "succeeded"]


def test_bad_scripts_are_refused(double: Any) -> None:
    scripts: list[Any] = [{"mode": "unheard_of"}, {"mode": "latency", "seconds": 601}, {"mode": "drop", "times": 0}, []]
    for script in scripts:
        assert double.post("faults", script).status_code == 400
    assert double.get("faults")["data"] == []


def test_state_survives_being_killed(start_double: Callable[..., Any], tmp_path: Path) -> None:
    double = start_double(tmp_path)
    paid = double.client().v1.payment_intents.create(PAID, {"idempotency_key": "restart-1"})
    ledger = double.ledger(paid.id)
    double.stop(kill=True)
    double = start_double(tmp_path)
    assert double.client().v1.payment_intents.retrieve(paid.id).status == "succeeded"
    assert double.client().v1.payment_intents.create(PAID, {"idempotency_key": "restart-1"}).id == paid.id
    assert double.ledger(paid.id) == ledger == [("charge", 15000), ("capture", 15000)]
