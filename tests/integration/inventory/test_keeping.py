"""What is kept and for whom: row security between tenants, retention, and the demo's data planted twice."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from services.chassis.clock import FixedClock, SystemClock
from services.chassis.retention import Retention
from services.inventory.domain.catalog import AppointmentRules
from services.inventory.domain.errors import NotBookable
from services.inventory.store.retention import JOBS
from services.inventory.store.tables import METADATA
from services.inventory.usecases.availability import list_slots
from services.inventory.usecases.holds import (
    PlaceBookingHold,
    PlaceHold,
    create_quote,
    place_booking_hold,
    place_hold,
    post_hold,
    release_hold,
)
from tests.integration.inventory.process import ROOT, environment
from tests.ports.inventory.worlds import RealWorld
from tests.unit.inventory.builders import (
    DAY_AND_NIGHT,
    a_key,
    a_person,
    a_stay,
    a_vendor,
    an_id,
    appointments,
    nights,
    slot,
    stocked,
    the_booking,
)

SOON = (datetime.now(UTC) + timedelta(days=30)).date()
TENANT_TABLES = ("vendors", "resources", "quotes", "holds", "claims", "cells", "hold_history", "idempotency", "outbox")


async def _filled(world: RealWorld) -> None:
    vendor = a_vendor(a_person(world.tenant_id), datetime.now(UTC))
    room = a_stay(vendor, capacity=9)
    await stocked(world.ports, world.tenant_id, vendor, room)
    person, booking = a_person(world.tenant_id), the_booking(world.tenant_id)
    await create_quote(world.ports, person, [nights(room, SOON)], None)
    held = await place_hold(world.ports, person, PlaceHold([nights(room, SOON)]), a_key(person, "k"))
    await release_hold(world.ports, person, held.hold_id, None)
    step = PlaceBookingHold(an_id("bkg"), "book", person.subject, timedelta(minutes=9), [nights(room, SOON, 2)])
    await place_booking_hold(world.ports, booking, step)
    await post_hold(world.ports, booking, step.booking_id, "book")


async def test_one_tenants_rows_are_not_anothers(world: RealWorld) -> None:
    await _filled(world)
    with psycopg.connect(world.urls.app, autocommit=True) as connection:
        for tenant_id, visible in ((None, False), ("", False), (an_id("ten"), False), (world.tenant_id, True)):
            if tenant_id is not None:
                connection.execute("SELECT set_config('berth.tenant', %s, false)", (tenant_id,))
            for table in TENANT_TABLES:
                found = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
                assert (found is not None and found[0] > 0) is visible, table
        connection.execute("SELECT set_config('berth.tenant', %s, false)", (world.tenant_id,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE holds SET tenant_id = 'ten_other'")
        # The functions set the tenant for their own statement only.
        connection.execute("SELECT set_config('berth.tenant', '', false)")
        connection.execute("SELECT * FROM read_hold(%s, 'hld_x')", (world.tenant_id,))
        assert connection.execute("SELECT count(*) FROM holds").fetchone() == (0,)


async def test_what_is_old_is_forgotten_and_counters_stay_right(world: RealWorld) -> None:
    await _filled(world)
    clock = FixedClock(datetime.now(UTC))
    retention = Retention(world.worker_database, clock, METADATA, JOBS)
    assert await retention.run_once() == {"quotes": 0, "claims": 0, "cells": 0, "holds": 0}
    clock.advance(timedelta(days=31))
    assert (await retention.run_once())["holds"] == 1
    assert world.broken() == []
    clock.advance(timedelta(days=100))
    gone = await retention.run_once()
    assert (gone["claims"], gone["cells"]) == (1, 2)
    assert world.broken() == []
    with psycopg.connect(world.urls.auditor) as connection:
        assert connection.execute("SELECT status FROM holds").fetchall() == [("POSTED",)]
        assert connection.execute("SELECT count(*) FROM cells").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM quotes").fetchone() == (0,)


async def test_history_tells_every_move(world: RealWorld) -> None:
    await _filled(world)
    with psycopg.connect(world.urls.auditor) as connection:
        moves = connection.execute(
            "SELECT array_agg(from_status || '>' || to_status ORDER BY transition_time) FROM hold_history"
            " GROUP BY hold_id ORDER BY 1"
        ).fetchall()
    assert moves == [([">HELD", "HELD>POSTED"],), ([">HELD", "HELD>RELEASED"],)]


@pytest.mark.parametrize("off", [timedelta(minutes=10), timedelta(minutes=-10)])
async def test_the_databases_time_rules_whatever_a_process_believes(world: RealWorld, off: timedelta) -> None:
    now = datetime.now(UTC)
    wrong = RealWorld(world.urls, FixedClock(now + off))
    await wrong.open()
    person = a_person(wrong.tenant_id)
    vendor = a_vendor(person, now)
    rules = AppointmentRules(5, openings=DAY_AND_NIGHT)
    doctor = appointments(vendor, rules, time_zone="UTC")
    await stocked(wrong.ports, wrong.tenant_id, vendor, doctor)
    five = timedelta(minutes=5)
    past = now - now.replace(minute=now.minute // 5 * 5, second=0, microsecond=0)
    begun, coming = now - past, now - past + 2 * five
    held = await place_hold(wrong.ports, person, PlaceHold([slot(doctor, coming)], ttl=five), None)
    assert abs(held.create_time - now) < five
    assert held.expire_time - held.create_time == five
    with pytest.raises(NotBookable) as refused:
        await place_hold(wrong.ports, person, PlaceHold([slot(doctor, begun)]), None)
    assert refused.value.metadata["refusals"] == "IN_THE_PAST"
    quote = await create_quote(wrong.ports, person, [slot(doctor, coming + five)], None)
    await place_hold(wrong.ports, person, PlaceHold(quote_id=quote.quote_id), None)
    _, states = await list_slots(wrong.ports, person, doctor.resource_id, now.date())
    assert [state.start for state in states if not state.obstacles][:1] != [begun]
    await wrong.close()


async def test_the_demo_is_planted_once(world: RealWorld, certificates: Path) -> None:
    told = environment(world.urls, certificates, 1, 1)
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.inventory", "seed", "--file", "infra/local/demo.toml", env=told, cwd=ROOT
        )
        assert await process.wait() == 0
    with psycopg.connect(world.urls.auditor) as connection:
        assert connection.execute("SELECT status, grant_due < now() + interval '1 hour' FROM vendors").fetchall() == [
            ("APPROVED", True)
        ]
        found = connection.execute("SELECT kind, capacity, version FROM resources ORDER BY kind").fetchall()
        assert found == [("APPOINTMENT", 1, 1), ("STAY", 5, 1)]
        tenants = connection.execute("SELECT DISTINCT tenant_id FROM resources").fetchall()
    world.tenant_id = str(tenants[0][0])
    clock = SystemClock()
    shown = await world.ports.catalog.resources_of(world.tenant_id, "", "", 9, archived=False)
    assert {resource.time_zone for resource in shown} == {"Europe/London"}
    assert all(resource.create_time <= clock.now() for resource in shown)
