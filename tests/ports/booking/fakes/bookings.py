"""Bookings in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from services.booking.domain import TRANSITIONS, Booking, Fact, PaymentStatus, Status, Transition, fact_of
from services.booking.ports import Listed, News, Repeated, Stale, Window
from services.booking.store.memory import Memory
from services.chassis.errors import IdempotencyKeyReused
from services.chassis.idempotency.key import IdempotencyKey
from tests.ports.booking.fakes.scene import Turn, no_turn


class FakeBookings:
    """Bookings in memory, with the transactions' promises: all or nothing, one winner for each version."""

    def __init__(self, turn: Turn = no_turn) -> None:
        self.rows: dict[str, Booking] = {}
        self.keys: dict[tuple[str, str, str, str], tuple[bytes, str]] = {}
        self.transitions: dict[str, list[Transition]] = {}
        self.facts: list[Fact] = []
        self.taken: set[str] = set()
        self._memory = Memory()
        self._turn = turn

    async def add(self, booking: Booking, key: IdempotencyKey | None) -> str:
        await self._turn()
        if key is not None and (found := self._find(key)) is not None:
            await self._turn()
            return found
        if key is not None:
            self.keys[_key(key)] = (key.request_hash, booking.booking_id)
        self._write(None, booking)
        self._memory.stored(booking)
        await self._turn()
        return booking.booking_id

    async def get(self, tenant_id: str, booking_id: str) -> Booking | None:
        await self._turn()
        booking = self.rows.get(booking_id)
        return booking if booking is not None and booking.tenant_id == tenant_id else None

    async def save(
        self, before: Booking, after: Booking, *, key: IdempotencyKey | None = None, news: News | None = None
    ) -> Booking:
        await self._turn()
        if (key is not None and self._find(key) is not None) or (news is not None and news.event_id in self.taken):
            raise Repeated
        if self.rows[before.booking_id].version != before.version:
            raise Stale
        if key is not None:
            self.keys[_key(key)] = (key.request_hash, before.booking_id)
        if news is not None:
            self.taken.add(news.event_id)
        saved = replace(after, version=before.version + 1)
        self._write(before, saved)
        self._memory.stored(saved)
        if saved.failure is not None:
            self.keys = {name: found for name, found in self.keys.items() if found[1] != saved.booking_id}
        await self._turn()
        return saved

    def needs_no_news(self, booking_id: str, payment_version: int, now: datetime) -> bool:
        return self._memory.needs_no_news(booking_id, payment_version, now)

    async def first_use(self, key: IdempotencyKey) -> str | None:
        await self._turn()
        return self._find(key)

    async def take_over(self, booking: Booking, now: datetime, lease: datetime) -> Booking | None:
        await self._turn()
        row = self.rows[booking.booking_id]
        if row.version != booking.version or row.run_time is None or row.run_time > now:
            return None
        self.rows[booking.booking_id] = replace(row, run_time=lease, attempts=row.attempts + 1)
        return self.rows[booking.booking_id]

    async def postpone(self, booking: Booking, run_time: datetime) -> None:
        self._memory.left(booking.booking_id)
        await self._turn()
        row = self.rows[booking.booking_id]
        if row.version == booking.version:
            self.rows[booking.booking_id] = replace(row, run_time=run_time)

    async def take_due(self, now: datetime, lease: datetime, limit: int) -> list[Booking]:
        due = [row for row in self.rows.values() if row.run_time is not None and row.run_time <= now]
        due.sort(key=lambda row: row.run_time or now)
        taken = [replace(row, run_time=lease, attempts=row.attempts + 1) for row in due[:limit]]
        self.rows.update({row.booking_id: row for row in taken})
        return taken

    async def of_user(self, tenant_id: str, user_id: str, status: Status | None, window: Window) -> Listed:
        return self._list(lambda row: (row.tenant_id, row.user_id) == (tenant_id, user_id), status, window)

    async def of_vendor(self, tenant_id: str, vendor_id: str, status: Status | None, window: Window) -> Listed:
        return self._list(lambda row: (row.tenant_id, row.vendor_id) == (tenant_id, vendor_id), status, window)

    async def history(self, tenant_id: str, booking_id: str) -> tuple[Transition, ...]:
        return tuple(self.transitions[booking_id]) if await self.get(tenant_id, booking_id) else ()

    def _find(self, key: IdempotencyKey) -> str | None:
        found = self.keys.get(_key(key))
        if found is None:
            return None
        if found[0] != key.request_hash:
            raise IdempotencyKeyReused
        return found[1]

    def _write(self, before: Booking | None, after: Booking) -> None:
        fact = fact_of(before, after)
        if fact is not None:
            change = (before.status if before else None, after.status)
            assert change in TRANSITIONS, change
            transition = Transition(*change, after.update_time, after.status_actor, after.status_reason)
            self.transitions.setdefault(after.booking_id, []).append(transition)
            self.facts.append(fact)
        free = after.total is not None and not after.total.minor
        if after.status is Status.CONFIRMED:
            assert after.payment_status is PaymentStatus.SUCCEEDED or free
        self.rows[after.booking_id] = after

    def _list(self, mine: Callable[[Booking], bool], status: Status | None, window: Window) -> Listed:
        found = sorted(
            (row for row in self.rows.values() if mine(row) and status in {None, row.status}),
            key=lambda row: row.booking_id,
            reverse=True,
        )
        rest = [row for row in found if not window.after or row.booking_id < window.after][window.skip :]
        return Listed(tuple(rest[: window.limit]), len(found), more=len(rest) > window.limit)


def _key(key: IdempotencyKey) -> tuple[str, str, str, str]:
    return key.tenant_id, key.principal, key.method, key.key
