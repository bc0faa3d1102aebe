"""Webhooks as they really arrive: signed, repeated until accepted; by script twice, late, out of order or lost."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe

PAID: Any = {
    "amount": 15000,
    "currency": "eur",
    "payment_method_types": ["card"],
    "payment_method": "pm_card_visa",
    "confirm": True,
}


def test_events_are_signed_listed_and_carry_the_object(client: Any, endpoint: Any) -> None:
    paid = client.v1.payment_intents.create(
        {**PAID, "metadata": {"booking_id": "bkg_1"}}, {"idempotency_key": "hook-1"}
    )
    event = endpoint.until("payment_intent.succeeded", paid.id)
    assert event.data.object["metadata"]["booking_id"] == "bkg_1"
    assert event.request.idempotency_key == "hook-1"
    listed = client.v1.events.list({"types": ["payment_intent.succeeded"], "limit": 1}).data
    assert [one.id for one in listed] == [event.id]
    assert client.v1.events.retrieve(event.id).type == event.type


def test_a_refused_webhook_comes_again(
    double: Any, client: Any, endpoint: Any, eventually: Callable[..., None]
) -> None:
    double.fault(target="webhooks", mode="lose", match="charge.*", times=9)
    endpoint.answers.extend([500, 503])
    intent = client.v1.payment_intents.create({"amount": 15000, "currency": "eur"})
    seen = [endpoint.until("payment_intent.created", intent.id).id for _ in range(3)]
    assert len(set(seen)) == 1
    eventually(lambda: client.v1.events.retrieve(seen[0]).pending_webhooks == 0)
    (delivery,) = double.get("deliveries", event=seen[0])["data"]
    assert (delivery["attempt"], delivery["last_status"]) == (3, 200)


def test_lost_duplicated_and_reordered_events(double: Any, client: Any, endpoint: Any) -> None:
    double.fault(target="webhooks", mode="lose", match="charge.succeeded")
    double.fault(target="webhooks", mode="reorder", match="payment_intent.created", seconds=0.3)
    double.fault(target="webhooks", mode="duplicate", match="payment_intent.succeeded", copies=2)
    paid = client.v1.payment_intents.create(PAID)
    types: list[str] = []
    while len(types) < 4:
        event = endpoint.next()
        if paid.id in (event.data.object["id"], event.data.object.to_dict().get("payment_intent")):
            types.append(event.type)
    assert types == ["payment_intent.succeeded"] * 3 + ["payment_intent.created"]
    (lost,) = client.v1.events.list({"type": "charge.succeeded", "limit": 1}).data
    assert double.post("deliver", {"events": [lost.id], "copies": 2}).json() == {"statuses": [200, 200]}
    assert endpoint.until("charge.succeeded", str(paid.latest_charge)).id == lost.id


def test_forged_and_stale_copies_do_not_verify(double: Any, client: Any, endpoint: Any) -> None:
    intent = client.v1.payment_intents.create({"amount": 15000, "currency": "eur"})
    event = endpoint.until("payment_intent.created", intent.id)
    for manner in ("forge", "stale"):
        double.post("deliver", {"events": [event.id], "manner": manner})
        with pytest.raises(stripe.SignatureVerificationError):
            endpoint.next()


def test_an_event_of_an_unknown_type_can_be_sent(double: Any, endpoint: Any) -> None:
    double.post("events", {"type": "martian.landed", "object": {"id": "mar_1", "object": "martian"}})
    assert endpoint.until("martian.landed", "mar_1").data.object["object"] == "martian"
