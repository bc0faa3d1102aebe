"""Owns the loads of bookings to CONFIRMED: through the mesh, the skeleton and the monolith, and at a fixed rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from scripts.bench import bare, load, yardstick
from scripts.bench.ground import CLIENTS, Bench

MESH, SKELETON, MONOLITH, RATE = "bookings, REST", "skeleton, REST", "monolith, REST", "bookings at a rate"
HEALTHY_SECONDS = 4.0  # until the gateway has seen that others serve now


def through_mesh(bench: Bench) -> None:
    """As fast as they are answered, through everything."""
    _measure(bench, MESH, [bench.mesh.gateway_url])


def at_rate(bench: Bench) -> None:
    """The peak that the product is to stand, whether answers come or not."""
    market, sizes = bench.market, bench.sizes
    token, resources = market.sign_in("customer"), market.make_resources(sizes.resources)
    url = [bench.mesh.gateway_url]
    bench.warm_up(url, market.bookings(sizes.warm_up, resources, token))
    requests = market.bookings(int(sizes.rate * sizes.rate_seconds), resources, market.sign_in("customer"))
    note = f"{sizes.rate:g} a second for {sizes.rate_seconds:g} s"
    bench.loaded(RATE, load.Plan(url, requests, rate=sizes.rate), mails=False, note=note)


def through_skeleton(bench: Bench) -> None:
    """The same requests, the same gateway, and nothing promised behind it."""
    resources = bench.market.make_resources(1)
    with bare.skeleton(bench.mesh) as pids:
        time.sleep(HEALTHY_SECONDS)
        served = replace(bench, others={name: [pid] for name, pid in pids.items()})
        _measure(served, SKELETON, [bench.mesh.gateway_url], resources, drains=False)


def through_monolith(bench: Bench) -> None:
    """The same requests to the monolith, in a mesh whose services are its workers."""
    with yardstick.monolith(bench.mesh) as served:
        _measure(
            replace(bench, databases=served.databases, others={yardstick.NAME: served.pids}), MONOLITH, served.urls
        )


def _measure(
    bench: Bench, name: str, urls: Sequence[str], resources: Sequence[str] = (), *, drains: bool = True
) -> None:
    market, sizes = bench.market, bench.sizes
    resources = resources or market.make_resources(sizes.resources)
    token = market.sign_in("customer")
    bench.warm_up(urls, market.bookings(sizes.warm_up, resources, token))
    requests = market.bookings(sizes.bookings, resources, token)
    bench.loaded(name, load.Plan(urls, requests, CLIENTS), drains=drains, note=f"{CLIENTS} clients")
