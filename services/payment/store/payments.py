"""Stored payments: each change with its refunds, ledger entries and facts is one statement and one round trip."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis.db import Database, HotStatement
from services.chassis.errors import NotFound
from services.chassis.idempotency.key import IdempotencyKey
from services.chassis.idempotency.store import claim
from services.chassis.ids import new_id, shard_of
from services.chassis.money import Money
from services.payment.domain.ledger import Entry, Line
from services.payment.domain.payments import (
    FINAL,
    FIRST_CHECK,
    Change,
    Payment,
    Refund,
    RefundStatus,
    Status,
    next_check,
)
from services.payment.ports import Saved
from services.payment.store.tables import booking_payments, payments, refunds
from services.payment.wire import TOPIC, event_of

_START = "SELECT * FROM payment_start(%s, %s::jsonb)"
_SAVE = "SELECT stored, cancel_wanted FROM payment_save(%s, %s, %s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb)"


def _nothing() -> str:
    return ""


class StoredPayments:
    """Payments in PostgreSQL; the role's row security applies."""

    def __init__(
        self,
        database: Database,
        *,
        wake: Callable[[], None] = lambda: None,
        traceparent: Callable[[], str] = _nothing,
    ) -> None:
        """`wake` is told when events were stored; `traceparent` names the trace that they belong to."""
        self._database = database
        self._start = HotStatement(database, _START)
        self._save = HotStatement(database, _SAVE)
        self._wake = wake
        self._traceparent = traceparent

    async def start(self, payment: Payment) -> Payment:
        row = await self._start.fetch_one(
            payment.booking_id,
            (payment.tenant_id, _json(_payment_row(payment, next_check(payment, payment.create_time)))),
        )
        if row is None:
            raise NotFound(resource="booking")
        if row.version == 1:  # as it was begun: it has nothing yet that other tables hold
            return _payment(row, ())
        return await self.get(payment.tenant_id, row.payment_id) or _payment(row, ())

    async def get(self, tenant_id: str, payment_id: str) -> Payment | None:
        found = await self._read(tenant_id, payments.c.payment_id == payment_id)
        return found[0] if found else None

    async def of_booking(self, tenant_id: str, booking_id: str) -> list[Payment]:
        return await self._read(tenant_id, payments.c.booking_id == booking_id)

    async def cancel_booking(self, tenant_id: str, booking_id: str, at: datetime) -> list[Payment]:
        remembered = insert(booking_payments).values(booking_id=booking_id, tenant_id=tenant_id, cancel_time=at)
        remembered = remembered.on_conflict_do_update(
            index_elements=[booking_payments.c.booking_id],
            set_={"cancel_time": func.coalesce(booking_payments.c.cancel_time, remembered.excluded.cancel_time)},
        )
        # Should we die before the provider has cancelled, the reconciler goes on.
        still_open = (payments.c.booking_id == booking_id) & payments.c.status.not_in([str(one) for one in FINAL])
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(remembered)
            await connection.execute(update(payments).where(still_open).values(check_time=at + FIRST_CHECK))
            return await _select(connection, payments.c.booking_id == booking_id)

    async def reopen_booking(self, tenant_id: str, booking_id: str) -> None:
        goes_on = update(booking_payments).where(booking_payments.c.booking_id == booking_id).values(cancel_time=None)
        async with self._database.transaction(tenant_id) as connection:
            await connection.execute(goes_on)

    async def save(self, change: Change) -> Saved:
        payment = change.payment
        traceparent = self._traceparent() if change.facts else ""
        row = await self._save.fetch_one(
            payment.booking_id,
            (
                payment.tenant_id,
                change.expected_version,
                _json(_payment_row(payment, change.check_time)),
                _json([_refund_row(refund) for refund in change.refunds]),
                _json([_entry_row(payment.tenant_id, entry) for entry in change.entries]),
                _json(_event_rows(change, traceparent)),
            ),
        )
        if row is None:
            raise RuntimeError("payment_save answers exactly one row.")
        if row.stored and change.facts:
            self._wake()
        return Saved(row.stored, bool(row.cancel_wanted))

    async def refund_claim(self, key: IdempotencyKey, refund_id: str, at: datetime) -> str:
        async with self._database.transaction(key.tenant_id) as connection:
            return (await claim(connection, key, refund_id, at)).resource_id

    async def _read(self, tenant_id: str, where: ColumnElement[bool]) -> list[Payment]:
        async with self._database.transaction(tenant_id) as connection:
            return await _select(connection, where)


async def _select(connection: AsyncConnection, where: ColumnElement[bool]) -> list[Payment]:
    rows = await connection.execute(
        select(payments, booking_payments.c.cancel_time)
        .join(booking_payments)
        .where(where)
        .order_by(payments.c.create_time, payments.c.payment_id)
    )
    found = rows.all()
    given = await connection.execute(
        select(refunds)
        .where(refunds.c.payment_id.in_([row.payment_id for row in found]))
        .order_by(refunds.c.create_time, refunds.c.refund_id)
    )
    by_payment: dict[str, list[Refund]] = {}
    for row in given:
        by_payment.setdefault(row.payment_id, []).append(_refund(row))
    return [
        _payment(row, by_payment.get(row.payment_id, ()), cancel_wanted=row.cancel_time is not None) for row in found
    ]


def _payment(row: Any, given: Iterable[Refund], *, cancel_wanted: bool = False) -> Payment:
    return Payment(
        payment_id=row.payment_id,
        tenant_id=row.tenant_id,
        booking_id=row.booking_id,
        step=row.step,
        user_id=row.user_id,
        vendor_id=row.vendor_id,
        amount=Money(row.currency, row.amount_minor),
        manual_capture=row.manual_capture,
        status=Status(row.status),
        captured=Money(row.currency, row.captured_minor),
        create_time=row.create_time,
        update_time=row.update_time,
        attempt_time=row.attempt_time,
        version=row.version,
        fee=None if row.fee_minor is None else Money(row.fee_currency, row.fee_minor),
        last_error=row.last_error,
        provider_intent_id=row.provider_intent_id,
        provider_charge_id=row.provider_charge_id,
        attempt=row.attempt,
        refunds=tuple(given),
        cancel_wanted=cancel_wanted,
    )


def _refund(row: Any) -> Refund:
    return Refund(
        refund_id=row.refund_id,
        step=row.step,
        amount=Money(row.currency, row.amount_minor),
        status=RefundStatus(row.status),
        reason=row.reason,
        create_time=row.create_time,
        update_time=row.update_time,
        attempt_time=row.attempt_time,
        provider_refund_id=row.provider_refund_id,
        attempt=row.attempt,
    )


def _payment_row(payment: Payment, check_time: datetime | None) -> dict[str, object]:
    return {
        "payment_id": payment.payment_id,
        "booking_id": payment.booking_id,
        "step": payment.step,
        "user_id": payment.user_id,
        "vendor_id": payment.vendor_id,
        "currency": payment.amount.currency,
        "amount_minor": payment.amount.minor,
        "captured_minor": payment.captured.minor,
        "refunded_minor": payment.refunded.minor,
        "fee_currency": payment.fee.currency if payment.fee else None,
        "fee_minor": payment.fee.minor if payment.fee else None,
        "manual_capture": payment.manual_capture,
        "status": payment.status,
        "last_error": payment.last_error,
        "provider_intent_id": payment.provider_intent_id,
        "provider_charge_id": payment.provider_charge_id,
        "attempt": payment.attempt,
        "attempt_time": payment.attempt_time,
        "create_time": payment.create_time,
        "update_time": payment.update_time,
        "version": payment.version,
        "check_time": check_time,
    }


def _refund_row(refund: Refund) -> dict[str, object]:
    row = asdict(refund)
    del row["amount"]
    return row | {"currency": refund.amount.currency, "amount_minor": refund.amount.minor}


def _entry_row(tenant_id: str, entry: Entry) -> dict[str, object]:
    lines = [_line_row(tenant_id, line) for line in entry.lines]
    return {"kind": entry.kind, "refund_id": entry.refund_id, "lines": lines}


def _line_row(tenant_id: str, line: Line) -> dict[str, object]:
    # One account for each tenant, kind, vendor and currency: its id says so, and creating it twice is no conflict.
    account_id = "/".join(filter(None, (tenant_id, line.account.lower(), line.vendor_id, line.amount.currency)))
    return {
        "account_id": account_id,
        "kind": line.account,
        "vendor_id": line.vendor_id,
        "currency": line.amount.currency,
        "amount_minor": line.amount.minor,
    }


def _event_rows(change: Change, traceparent: str) -> list[dict[str, object]]:
    payment = change.payment
    rows: list[dict[str, object]] = []
    for fact in change.facts:
        message_type, payload = event_of(fact)
        rows.append(
            {
                "event_id": new_id("evt", at=payment.update_time, shard=shard_of(payment.booking_id)),
                "topic": TOPIC,
                "type": message_type,
                "payload": base64.b64encode(payload).decode(),
                "traceparent": traceparent,
            }
        )
    return rows


def _json(value: object) -> str:
    return json.dumps(value, default=datetime.isoformat)
