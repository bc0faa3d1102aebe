"""Owns the whole journey by REST: the demonstration itself, and the audit of what it leaves behind."""

from __future__ import annotations

from scripts.demo.client import Client, Exchange
from scripts.demo.journey import travel
from tests.journey.audit import audited
from tests.mesh import Mesh


def test_the_demonstration_works_and_leaves_nothing_broken(mesh: Mesh) -> None:
    steps: list[Exchange] = []
    key = mesh.stack.stripe_publishable_key
    with Client(mesh.gateway_url, mesh.mail_url, mesh.stripe_url, steps.append, stripe_key=key) as client:
        outcome = travel(client)
    by_title = {step.title: step for step in steps}
    assert by_title["Book"].body["status"] == "PENDING"
    assert by_title["The webhook confirms it"].body["paymentStatus"] == "SUCCEEDED"
    story = by_title["The whole story"].body["transitions"]
    assert [step["toStatus"] for step in story] == ["PENDING", "CONFIRMED", "CANCELLED"]
    assert outcome.refund_amount == by_title["Lock the price"].body["total"]["amount"]
    assert audited(mesh) == {}
