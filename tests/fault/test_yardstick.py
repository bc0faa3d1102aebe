"""The monolith that the bench compares with: a yardstick only while it keeps the promises that the mesh keeps."""

from __future__ import annotations

from pathlib import Path

from scripts.bench import load, settle, yardstick
from scripts.bench.market import Market
from tests.fault.figures import exactly, judge
from tests.mesh import start_mesh

CLIENTS, UNITS, OTHERS = 100, 7, 60


def test_the_monolith_sells_each_unit_once(tmp_path: Path) -> None:
    with start_mesh(tmp_path / "mesh", {"BERTH_MAILS_PER_SECOND": "10000"}) as mesh, yardstick.monolith(mesh) as served:
        market = Market(mesh.gateway_url, tmp_path)
        scarce, others = market.make_resources(1, capacity=UNITS), market.make_resources(5)
        token = market.sign_in("customer")
        rush = market.bookings(CLIENTS, list(scarce) * CLIENTS, token)
        result = load.run(load.Plan(served.urls, rush + market.bookings(OTHERS, others, token), CLIENTS), tmp_path)
        settle.drain(served.databases)
        judge(
            f"monolith: {CLIENTS} clients on {UNITS} units, {OTHERS} others",
            "I1 I2 I4",
            exactly("confirmed", result.outcomes.get("CONFIRMED", 0), UNITS + OTHERS),
            exactly("refused as taken", result.statuses.get("409", 0), CLIENTS - UNITS),
            exactly("violations", settle.violations(mesh, served.databases), 0),
        )
