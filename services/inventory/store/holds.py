"""Holds in PostgreSQL: each change one call of a function that decides under its resources' locks."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import errors as pg

from services.chassis.clock import Clock
from services.chassis.db import Database, Gather
from services.chassis.errors import IdempotencyKeyReused, NotFound
from services.chassis.idempotency import store as idempotency
from services.chassis.idempotency.key import IdempotencyKey
from services.inventory.domain.errors import (
    ExtensionTooLong,
    HoldEnded,
    NotBookable,
    QuoteInvalid,
    ResourceStale,
    UnitsTaken,
)
from services.inventory.domain.holds import LONGEST_LIFE, Hold, HoldStatus, Order
from services.inventory.domain.items import Cells, Code, as_text
from services.inventory.ports import HoldChange
from services.inventory.store.rows import hold_of, items_json

MILLISECOND = timedelta(milliseconds=1)
MAX_ORDERS = 128  # decided in one statement
MAX_POSTS = 16  # sold in one statement
LIVING = frozenset({HoldStatus.HELD, HoldStatus.POSTED})

PLACE = (
    "SELECT * FROM place_holds(%s, %s, %s::integer[], %s::integer[], %s::integer[], %s::jsonb, %s::integer[],"
    " %s::integer[], %s::bigint[], %s::integer[], %s::integer[], %s::integer[], %s::integer[], %s::timestamptz[],"
    " %s::timestamptz[])"
)
MOVE = "SELECT * FROM move_hold(%s, %s, %s, %s, %s, %s, %s::bigint, %s::bigint)"
POST = "SELECT * FROM post_holds(%s, %s, %s)"
READ = "SELECT * FROM read_hold(%s, %s)"
READ_PLACED = "SELECT * FROM read_placed(%s, %s, %s, %s, %s, %s)"
EXPIRED = (
    "SELECT DISTINCT c.resource_id FROM ("
    " SELECT hold_id FROM holds WHERE status = 'HELD' AND expire_time <= clock_timestamp()"
    " ORDER BY expire_time LIMIT %s"
    ") h JOIN claims c USING (hold_id)"
)
EXPIRE = "SELECT expire_holds_of(%s) AS ended"

Verdict = Hold | Exception


class _Ordered(NamedTuple):
    tenant_id: str
    order: Order


class _Sold(NamedTuple):
    tenant_id: str
    booking_id: str
    step: str


def _tenant_of(asked: _Ordered | _Sold) -> str:
    return asked.tenant_id


class _Stretch(NamedTuple):
    """Neighbouring cells of the resource with this number, which are counted from `place` on."""

    resource: int
    first: int
    last: int
    place: int


class SqlHolds:
    """The port `Holds` on PostgreSQL. What is ordered or sold at once goes together; the worker's database is for
    sweeping."""

    def __init__(self, database: Database, worker_database: Database, clock: Clock) -> None:
        self._database = database
        self._worker_database = worker_database
        self._clock = clock
        self._placing: Gather[_Ordered, Hold] = Gather(
            self._decide, together=MAX_ORDERS, alike=_tenant_of, identity=lambda asked: asked.order.identity
        )
        self._posting: Gather[_Sold, Any] = Gather(self._post, together=MAX_POSTS, alike=_tenant_of)

    async def place(self, tenant_id: str, order: Order) -> Hold:
        """Keep all that is ordered."""
        return await self._database.in_time(self._placing.ask(_Ordered(tenant_id, order)))

    async def placed_before(self, tenant_id: str, order: Order) -> Hold | None:
        """What the same booking's step, or key, got before."""
        key = order.key
        named = (key.principal, key.method, key.key) if key else ("", "", "")
        row = await self._database.fetch_one(READ_PLACED, (tenant_id, order.booking_id, order.step, *named))
        if row is None:
            return None
        if key is not None and row.o_request_hash is not None and row.o_request_hash != key.request_hash:
            raise IdempotencyKeyReused
        found = await self._database.fetch_one(READ, (tenant_id, row.o_hold_id))
        if found is None:
            return None
        verdict = _repeated(found, order)
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    async def take_over(self, tenant_id: str, order: Order) -> Hold:
        """Make a person's hold a booking's."""
        named = (order.hold_id, order.user_id, order.booking_id, order.step, order.ttl // MILLISECOND)
        return _moved(await self._move(tenant_id, "TAKE", *named))

    async def get(self, tenant_id: str, hold_id: str) -> Hold | None:
        """One hold."""
        row = await self._database.fetch_one(READ, (tenant_id, hold_id))
        return hold_of(row) if row is not None else None

    async def extend(self, tenant_id: str, change: HoldChange, ttl: timedelta) -> Hold:
        """Keep a person's hold longer."""
        return await self._change(tenant_id, "EXTEND", change, ttl // MILLISECOND)

    async def release(self, tenant_id: str, change: HoldChange) -> Hold:
        """Give a person's hold back."""
        return await self._change(tenant_id, "RELEASE", change, 0)

    async def post(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Sell a booking's hold."""
        return _moved(await self._database.in_time(self._posting.ask(_Sold(tenant_id, booking_id, step))))

    async def void(self, tenant_id: str, hold_id: str, booking_id: str, step: str) -> None:
        """Give a booking's hold up, or see to it that there never is one."""
        row = await self._move(tenant_id, "VOID", hold_id, "", booking_id, step, 0)
        if row.o_outcome != "DONE":
            raise _ended(row)

    async def cancel(self, tenant_id: str, booking_id: str, step: str) -> Hold:
        """Free the units of a booking's sold hold."""
        return _moved(await self._move(tenant_id, "CANCEL", "", "", booking_id, step, 0))

    async def sweep(self, limit: int) -> int:
        """Mark holds that time has ended."""
        ended = 0
        for row in await self._worker_database.fetch_all(EXPIRED, (limit,)):
            # Each resource is a transaction of its own, so that none is locked for long.
            done = await self._worker_database.fetch_one(EXPIRE, (row.resource_id,))
            ended += done.ended if done is not None else 0
        return ended

    async def _decide(self, asked: Sequence[_Ordered]) -> Sequence[Verdict]:
        orders = [one.order for one in asked]
        parameters = _place_parameters(asked[0].tenant_id, orders)
        try:
            rows = await self._database.fetch_all(PLACE, parameters)
        except (pg.UniqueViolation, pg.CheckViolation):
            # A key or step was used meanwhile where no common resource put the two in line. Who meets that alone
            # finds it the next time.
            if len(orders) > 1:
                raise
            rows = await self._database.fetch_all(PLACE, parameters)
        return [_verdict(row, order) for row, order in zip(rows, orders, strict=True)]

    async def _post(self, asked: Sequence[_Sold]) -> Sequence[Any]:
        if len(asked) == 1:
            return [await self._move(asked[0].tenant_id, "POST", "", "", asked[0].booking_id, asked[0].step, 0)]
        names = [one.booking_id for one in asked], [one.step for one in asked]
        return await self._database.fetch_all(POST, (asked[0].tenant_id, *names))

    async def _move(self, tenant_id: str, verb: str, *named: object) -> Any:
        parameters = (tenant_id, verb, *named, LONGEST_LIFE // MILLISECOND)
        try:
            return await self._database.fetch_one(MOVE, parameters)
        except pg.UniqueViolation:
            # The step got its hold, or its tombstone, between looking and writing: now it is seen.
            return await self._database.fetch_one(MOVE, parameters)

    async def _change(self, tenant_id: str, verb: str, change: HoldChange, ttl: int) -> Hold:
        named = (change.hold_id, change.user_id, "", "", ttl)
        if change.key is None:
            return _moved(await self._move(tenant_id, verb, *named))
        parameters = (tenant_id, verb, *named, LONGEST_LIFE // MILLISECOND)
        return await self._database.run_again(
            lambda: self._change_once(tenant_id, change.key, change.hold_id, parameters)
        )

    async def _change_once(
        self, tenant_id: str, key: IdempotencyKey | None, hold_id: str, parameters: tuple[object, ...]
    ) -> Hold:
        if key is None:
            raise ValueError("A change without a key needs no claim.")
        async with self._database.transaction(tenant_id) as connection:
            claim = await idempotency.claim(connection, key, hold_id, self._clock.now())
            if claim.first:
                hold = _moved((await connection.exec_driver_sql(MOVE, parameters)).one())
                answer = {"status": hold.status, "expire_time": hold.expire_time.isoformat()}
                await idempotency.save_response(connection, key, json.dumps(answer).encode())
                return hold
        found = await self.get(tenant_id, claim.resource_id)
        if found is None or claim.response is None:
            raise NotFound(resource="hold")
        answered = json.loads(claim.response)
        until = datetime.fromisoformat(answered["expire_time"])
        return replace(found, status=HoldStatus(answered["status"]), expire_time=until)


def _place_parameters(tenant_id: str, orders: Sequence[Order]) -> tuple[object, ...]:
    claims = [(number, claim) for number, order in enumerate(orders, 1) for claim in order.claims]
    resources = sorted({claim.resource_id for _, claim in claims})
    place_of = {resource_id: number for number, resource_id in enumerate(resources, 1)}
    stretches = _stretches((place_of[claim.resource_id], claim.cells) for _, claim in claims)
    return (
        tenant_id,
        resources,
        _array(stretch.resource for stretch in stretches),
        _array(stretch.first for stretch in stretches),
        _array(stretch.last for stretch in stretches),
        f"[{','.join(map(_order_json, orders))}]",
        _array(number for number, _ in claims),
        _array(place_of[claim.resource_id] for _, claim in claims),
        _array(claim.version for _, claim in claims),
        _array(claim.cells.first for _, claim in claims),
        _array(claim.cells.last for _, claim in claims),
        _array(_offset(stretches, place_of[claim.resource_id], claim.cells) for _, claim in claims),
        _array(claim.quantity for _, claim in claims),
        _array(claim.bookable_until.isoformat() for _, claim in claims),
        _array(claim.finish_time.isoformat() for _, claim in claims),
    )


def _stretches(asked: Iterable[tuple[int, Cells]]) -> list[_Stretch]:
    """The cells that are asked for, without gaps or doubles, one after the other."""
    found: list[_Stretch] = []
    for resource, cells in sorted(asked, key=lambda one: (one[0], one[1].first)):
        last = found[-1] if found else None
        if last is not None and last.resource == resource and cells.first <= last.last + 1:
            found[-1] = last._replace(last=max(last.last, cells.last))
        else:
            place = last.place + last.last - last.first + 1 if last is not None else 1
            found.append(_Stretch(resource, cells.first, cells.last, place))
    return found


def _offset(stretches: Sequence[_Stretch], resource: int, cells: Cells) -> int:
    """What to take from a cell's number for its place among all that are asked for."""
    number = bisect_right(stretches, (resource, cells.first), key=lambda one: (one.resource, one.first)) - 1
    return stretches[number].first - stretches[number].place


def _array(values: Iterable[int | str]) -> str:
    # Numbers and instants need no quoting, and one text is cheaper to send than a list.
    return f"{{{','.join(map(str, values))}}}"


def _order_json(order: Order) -> str:
    facts: dict[str, object] = {
        "hold_id": order.hold_id,
        "user_id": order.user_id,
        "booking_id": order.booking_id,
        "step": order.step,
        "ttl_ms": order.ttl // MILLISECOND,
    }
    if order.quote_until is not None:
        facts["quote_until"] = order.quote_until.isoformat()
    if order.key is not None:
        facts |= {
            "principal": order.key.principal,
            "method": order.key.method,
            "key": order.key.key,
            "request_hash": order.key.request_hash.hex(),
        }
    return f'{json.dumps(facts)[:-1]}, "items": {items_json(order.items)}}}'


def _verdict(row: Any, order: Order) -> Verdict:
    match row.o_outcome:
        case "PLACED":
            return Hold(
                hold_id=order.hold_id,
                user_id=order.user_id,
                status=HoldStatus.HELD,
                items=order.items,
                create_time=row.o_now,
                expire_time=row.o_expire_time,
                booking_id=order.booking_id,
            )
        case "REPEATED":
            return _repeated(row, order)
        case "TAKEN":
            return UnitsTaken(available=str(row.o_available), resourceId=row.o_resource)
        case "STALE":
            return ResourceStale(frozenset(claim.resource_id for claim in order.claims))
        case "PAST":
            text = "It lies in the past."
            return NotBookable(text, refusals=Code.IN_THE_PAST, resourceId=row.o_resource)
        case "QUOTE_ENDED":
            return QuoteInvalid()
        case "KEY_REUSED":
            return IdempotencyKeyReused()
        case outcome:
            raise ValueError(f"place_holds answered {outcome!r}.")


def _repeated(row: Any, order: Order) -> Verdict:
    """A key answers what it answered first; a booking's step answers where its hold stands, while it lives."""
    hold = hold_of(row)
    if not order.booking_id:
        return replace(hold, status=HoldStatus.HELD, expire_time=row.o_placed_until, booking_id="")
    return hold if hold.status in LIVING else HoldEnded(status=hold.status)


def _moved(row: Any) -> Hold:
    if row.o_outcome == "NOT_FOUND":
        raise NotFound(resource="hold")
    if row.o_outcome == "TOO_LONG":
        raise ExtensionTooLong(latestExpireTime=as_text(row.o_create_time + LONGEST_LIFE))
    if row.o_outcome != "DONE":
        raise _ended(row)
    return hold_of(row)


def _ended(row: Any) -> HoldEnded:
    return HoldEnded(status=row.o_status)
