"""Schemathesis over the OpenAPI document: whatever it thinks of, answers are as documented, and never a fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from infra.local.topology import ROOT
from tests.journey.bad_input.good import a_room
from tests.journey.world.calls import Calls
from tests.journey.world.people import Person, newcomer, promote, settle
from tests.journey.world.world import World

DOCUMENT = ROOT / "generated" / "openapi" / "berth.json"
PROGRAM = Path(sys.executable).parent / "schemathesis"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "missing_required_header",
    "allow_header_conformance",
    "ignored_auth",
)
EXAMPLES = "6"  # for each method and phase
SECONDS = 90
SEED = "20261121"


@pytest.fixture(scope="module")
def marketplace(world: World, calls: Calls) -> dict[str, Person]:
    """A customer and an owner of a marketplace that nobody else needs afterwards."""
    slug = f"chaos-{uuid.uuid4().hex[:10]}"
    world["platform"].must("auth.v1.TenantService/CreateTenant", {"slug": slug, "displayName": "Chaos"})
    people = {name: newcomer(calls, f"chaotic {name}", slug) for name in ("customer", "owner", "reviewer")}
    settle(people.values())
    promote(people["reviewer"], "admin")
    owner = people["owner"]
    vendor = owner.must("inventory.v1.VendorService/CreateVendor", {"displayName": "Chaos and sons"})["vendorId"]
    owner.log_in()
    owner.must("inventory.v1.VendorService/SubmitVendor", {"vendorId": vendor})
    people["reviewer"].must("inventory.v1.VendorService/ApproveVendor", {"vendorId": vendor})
    owner.must("inventory.v1.ResourceService/CreateResource", a_room(vendor))
    return people


@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("name", ["customer", "owner"])
def test_answers_are_as_documented(name: str, marketplace: dict[str, Person], calls: Calls, tmp_path: Path) -> None:
    person = marketplace[name]
    person.log_in()
    began = time.monotonic()
    command = [
        *(str(PROGRAM), "--no-color", "run", str(DOCUMENT), "--url", calls.mesh.gateway_url),
        *(part for header, value in person.headers.items() for part in ("--header", f"{header}:{value}")),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES),
        *("--seed", SEED, "--generation-database", "none", "--no-shrink", "--continue-on-failure", "--warnings", "off"),
        *("--request-timeout", "20"),
    ]
    # Nothing of the developer's own settings may change what is run.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SCHEMATHESIS")}
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    tried = re.search(r"(\d+) generated", ran.stdout)
    operations = re.search(r"Tested: (\d+)", ran.stdout)
    assert tried is not None
    assert operations is not None
    assert int(operations[1]) > 40
    print(  # noqa: T201 - a measure worth seeing
        f"\nschemathesis as {name}: {operations[1]} operations, {tried[1]} cases in {time.monotonic() - began:.1f} s"
    )
