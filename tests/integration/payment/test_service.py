"""Payment as a process, by generated stubs over mTLS: paid, declined, refunded, told by webhooks, killed half-way."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import psycopg
import pytest
from berth.payment.v1 import payment_pb2 as messages
from berth.payment.v1 import payment_service_pb2 as service
from berth.payment.v1.payment_service_pb2_grpc import ChargeServiceStub, PaymentServiceStub, WebhookServiceStub
from berth.type.v1.money_pb2 import Money
from google.api.httpbody_pb2 import HttpBody

from infra.doubles.stripe import intents
from infra.doubles.stripe.faults import Fault
from tests.integration.payment.conftest import Mesh
from tests.integration.rpc.serving import refusal
from tests.ports.payment.fakes import TENANT, USER, VENDOR, booking_id

AS_BOOKING = (("berth-tenant", TENANT), ("berth-on-behalf-of", USER))
Status = messages.Payment


def eur(amount: str) -> Money:
    return Money(currency_code="EUR", amount=amount)


def start(booking: str, token: str = "pm_card_visa", amount: str = "150.00") -> service.StartPaymentRequest:
    return service.StartPaymentRequest(
        booking_id=booking, step="book", amount=eur(amount), user_id=USER, vendor_id=VENDOR, token=token
    )


def status(mesh: Mesh, booking: str) -> str:
    with psycopg.connect(mesh.urls.auditor) as auditor:
        row = auditor.execute("SELECT status FROM payments WHERE booking_id = %s", (booking,)).fetchone()
    return str(row[0]) if row else ""


def moved(mesh: Mesh) -> list[tuple[str, int]]:
    """The provider's own ledger."""
    return [(entry["kind"], entry["amount"]) for entry in mesh.double.store.ledger(0, 1000, None)]


def ours(mesh: Mesh) -> list[tuple[str, int]]:
    """What our ledger says lies with the provider, movement by movement, fees aside."""
    with psycopg.connect(mesh.urls.auditor) as auditor:
        return auditor.execute(
            "SELECT lower(kind), abs(amount_minor) FROM journal_entries JOIN postings USING (entry_id)"
            " WHERE account_id LIKE '%provider_clearing%' AND kind <> 'FEE' ORDER BY entry_id"
        ).fetchall()


def published(mesh: Mesh, booking: str) -> list[tuple[str, int]]:
    with psycopg.connect(mesh.urls.auditor) as auditor:
        rows = auditor.execute(
            "SELECT type, version FROM outbox WHERE key = %s ORDER BY sequence", (booking,)
        ).fetchall()
    return [(name.rpartition(".")[2], version) for name, version in rows]


async def test_paid_refunded_and_read(mesh: Mesh) -> None:
    await mesh.start()
    booking = booking_id()
    async with mesh.dial("booking") as channel:
        charges = ChargeServiceStub(channel)
        paid = await charges.StartPayment(start(booking), metadata=AS_BOOKING)
        assert paid.payment.status == Status.SUCCEEDED
        assert (paid.payment.captured_amount, paid.client_secret) == (eur("150.00"), "")
        assert await charges.StartPayment(start(booking), metadata=AS_BOOKING) == paid
        request = service.RefundPaymentRequest(booking_id=booking, step="cancel", amount=eur("75"), reason="cancelled")
        refunded = await charges.RefundPayment(request, metadata=AS_BOOKING)
        assert [one.status for one in refunded.payment.refunds] == [messages.Refund.SUCCEEDED]
        assert await charges.RefundPayment(request, metadata=AS_BOOKING) == refunded
        request.step, request.amount.amount = "more", "75.01"
        too_much = await refusal(charges.RefundPayment(request, metadata=AS_BOOKING))
        assert (too_much.reason, dict(too_much.infos[0].metadata)) == (
            "REFUND_EXCEEDS_PAYMENT",
            {"refundable": "75.00 EUR"},
        )
        cancelled = await charges.CancelPayment(service.CancelPaymentRequest(booking_id=booking), metadata=AS_BOOKING)
        assert cancelled.payment.status == Status.SUCCEEDED
        fault = await refusal(charges.StartPayment(start(booking_id(), amount="0.001"), metadata=AS_BOOKING))
        assert (fault.reason, [one.field for one in fault.violations]) == ("INVALID_FIELD", ["amount.amount"])
        bad = await refusal(charges.StartPayment(start(booking_id(), token="pm_nothing"), metadata=AS_BOOKING))
        assert (bad.code, bad.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAYMENT_TOKEN_INVALID")
    async with mesh.dial("gateway") as channel:
        payments = PaymentServiceStub(channel)
        by_id = service.GetPaymentRequest(payment_id=paid.payment.payment_id)
        payer, owner = (
            mesh.token(USER, "payments.read"),
            mesh.token("usr_01kdwcj2m2favr1c0xhades96a", "payments.read", "payments.refund", vendors=(VENDOR,)),
        )
        read = await payments.GetPayment(by_id, metadata=payer)
        assert read == refunded.payment
        listed = await payments.ListBookingPayments(
            service.ListBookingPaymentsRequest(booking_id=booking), metadata=payer
        )
        assert list(listed.payments) == [read]
        stranger = mesh.token("usr_01kdwcj2m3fha8qkfw284c199f", "payments.read", "payments.refund")
        assert (await refusal(payments.GetPayment(by_id, metadata=stranger))).code is grpc.StatusCode.NOT_FOUND
        given = service.CreateRefundRequest(payment_id=by_id.payment_id, amount=eur("10"), reason="goodwill")
        keyed = (*owner, ("idempotency-key", "k-1"))
        assert (await payments.CreateRefund(given, metadata=keyed)) == await payments.CreateRefund(
            given, metadata=keyed
        )
        assert (await refusal(payments.CreateRefund(given, metadata=owner))).reason == "IDEMPOTENCY_KEY_INVALID"
        given.amount.amount = "11"
        assert (await refusal(payments.CreateRefund(given, metadata=keyed))).reason == "IDEMPOTENCY_KEY_REUSED"
    assert moved(mesh) == [("charge", 15000), ("capture", 15000), ("refund", 7500), ("refund", 1000)]
    assert ours(mesh) == moved(mesh)[1:]
    names = [name for name, _ in published(mesh, booking)]
    assert names == ["PaymentSucceeded"] + ["RefundUpdated"] * 4
    assert [version for _, version in published(mesh, booking)] == [1, 2, 3, 4, 5]


async def test_who_may_call_what(mesh: Mesh) -> None:
    await mesh.start()
    for peer in ("gateway", "inventory", "operator"):
        async with mesh.dial(peer) as channel:
            denied = await refusal(ChargeServiceStub(channel).StartPayment(start(booking_id()), metadata=AS_BOOKING))
            assert denied.code is grpc.StatusCode.PERMISSION_DENIED
    async with mesh.dial("gateway") as channel:
        by_id = service.GetPaymentRequest(payment_id=booking_id().replace("bkg", "pay"))
        assert (await refusal(PaymentServiceStub(channel).GetPayment(by_id))).reason == "TOKEN_MISSING"
        message = HttpBody(content_type="application/json", data=b"{}")
        forged = await refusal(
            WebhookServiceStub(channel).HandleStripe(message, metadata=(("stripe-signature", "t=1,v1=00"),))
        )
        assert (forged.code, forged.reason) == (grpc.StatusCode.UNAUTHENTICATED, "SIGNATURE_INVALID")
    assert moved(mesh) == []


async def test_a_decline_then_3d_secure_told_by_webhook(mesh: Mesh) -> None:
    await mesh.start()
    booking = booking_id()
    async with mesh.dial("booking") as channel:
        charges = ChargeServiceStub(channel)
        declined = await charges.StartPayment(start(booking, "pm_card_chargeDeclined"), metadata=AS_BOOKING)
        assert (declined.payment.status, declined.payment.last_error) == (
            Status.REQUIRES_PAYMENT_METHOD,
            "card_declined",
        )
        assert "_secret_" in declined.client_secret
        nothing = service.RefundPaymentRequest(booking_id=booking, step="cancel", amount=eur("1"))
        unpaid = await refusal(charges.RefundPayment(nothing, metadata=AS_BOOKING))
        assert (unpaid.code, unpaid.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_STATE_INVALID")
        assert dict(unpaid.infos[0].metadata) == {"status": "REQUIRES_PAYMENT_METHOD"}
        request = service.AttemptPaymentRequest(booking_id=booking, attempt="a1", token="pm_card_threeDSecure2Required")
        waiting = await charges.AttemptPayment(request, metadata=AS_BOOKING)
        assert waiting.payment.status == Status.REQUIRES_ACTION
        (intent,) = mesh.double.store.listed("payment_intent", limit=1)
        with mesh.double.store.transaction():
            intents.authenticate(mesh.double, intent["id"], success=True)
        await mesh.until(lambda: status(mesh, booking) == "SUCCEEDED")
        after = await charges.GetCharge(service.GetChargeRequest(booking_id=booking), metadata=AS_BOOKING)
        assert (after.payment.status, after.client_secret) == (Status.SUCCEEDED, "")
    assert published(mesh, booking) == [("PaymentAttemptFailed", 1), ("PaymentSucceeded", 2)]
    with psycopg.connect(mesh.urls.auditor) as auditor:
        for table in ("payments", "provider_events", "outbox"):
            rows = auditor.execute(f"SELECT string_agg(t::text, '') FROM {table} t".encode()).fetchone()
            assert rows is not None
            assert "_secret_" not in str(rows[0]), f"{table} keeps a client secret"
    assert declined.client_secret not in mesh.log()


@pytest.mark.parametrize("point", ["payment.after_charge", "payment.after_commit"])
@pytest.mark.parametrize("told", [True, False])
async def test_killed_half_way_it_charges_once_and_settles(mesh: Mesh, point: str, told: bool) -> None:
    process = await mesh.start(crash_at=point)
    mesh.deaf = not told
    booking = booking_id()
    async with mesh.dial("booking") as channel:
        lost: Any = ChargeServiceStub(channel).StartPayment(start(booking), metadata=AS_BOOKING, timeout=10)
        with pytest.raises(grpc.aio.AioRpcError):
            await lost
    assert await asyncio.wait_for(process.wait(), 10) == -9
    assert moved(mesh) == [("charge", 15000), ("capture", 15000)]
    await mesh.start()
    await mesh.until(lambda: status(mesh, booking) == "SUCCEEDED")
    async with mesh.dial("booking") as channel:
        again = await ChargeServiceStub(channel).StartPayment(start(booking), metadata=AS_BOOKING)
    assert again.payment.status == Status.SUCCEEDED
    assert moved(mesh) == [("charge", 15000), ("capture", 15000)]
    assert ours(mesh) == [("capture", 15000)]
    assert published(mesh, booking) == [("PaymentSucceeded", 1)]


@pytest.mark.parametrize("mode", ["saved_500", "timeout", "conflict_409", "rate_limit_429", "error_500"])
async def test_whatever_the_provider_does_it_charges_once(mesh: Mesh, mode: str) -> None:
    mesh.deaf = True
    await mesh.start()
    mesh.double.faults.add(
        Fault("calls", mode, "payment_intents.create", times=2, seconds=6 if mode == "timeout" else 0)
    )
    booking = booking_id()
    async with mesh.dial("booking") as channel:
        charges = ChargeServiceStub(channel)
        for _ in range(3):
            try:
                answer = await charges.StartPayment(start(booking), metadata=AS_BOOKING, timeout=15)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - an answer is fine as well
            else:
                if answer.payment.status == Status.SUCCEEDED:
                    break
        await mesh.until(lambda: status(mesh, booking) == "SUCCEEDED")
    assert moved(mesh) == [("charge", 15000), ("capture", 15000)]
    assert ours(mesh) == [("capture", 15000)]
    assert published(mesh, booking) == [("PaymentSucceeded", 1)]


async def test_fifty_webhooks_of_each_kind_and_forged_ones_leave_one_state(mesh: Mesh) -> None:
    await mesh.start()
    for mode in ("forge", "stale", "duplicate"):
        mesh.double.faults.add(Fault("webhooks", mode, "payment_intent.succeeded", copies=50))
    bookings = [booking_id() for _ in range(3)]
    async with mesh.dial("booking") as channel:
        for booking in bookings:
            await ChargeServiceStub(channel).StartPayment(start(booking), metadata=AS_BOOKING)
    await mesh.until(lambda: mesh.double.store.deliveries(None) == [])
    assert mesh.webhooks.count(401) == 100
    assert set(mesh.webhooks) == {200, 401}
    assert [published(mesh, booking) for booking in bookings] == [[("PaymentSucceeded", 1)]] * 3
    with psycopg.connect(mesh.urls.auditor) as auditor:
        kept = auditor.execute("SELECT count(*), count(DISTINCT event_id) FROM provider_events").fetchone()
    assert kept == (9, 9), "created, charged and succeeded, each once"
