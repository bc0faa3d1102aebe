"""Each planted fault makes its check fail, and the output names it."""

import pytest

from tests.tidy.conftest import Copy

PROTO = "protos/berth/booking/v1/booking_service.proto"
ANCHOR = "service BookingService {\n"
METHOD = """  // Does something.
  rpc Ping(GetBookingRequest) returns (Booking) {
%s  }
"""
POLICY = """    option (berth.options.v1.policy) = {
      internal: true
      callers: ["notification"]
      deadline: {seconds: 2}
      rate_class: INTERNAL
    };
"""


def test_the_copy_is_clean(copy: Copy) -> None:
    for check in ("imports", "protos", "breaking", "generated", "tidy"):
        outcome = copy.check(check)
        assert outcome.passed, outcome.output


def test_a_method_without_a_policy(copy: Copy) -> None:
    copy.replace(PROTO, ANCHOR, ANCHOR + METHOD % "")
    outcome = copy.check("generated")
    assert not outcome.passed
    assert "berth.booking.v1.BookingService.Ping has no (berth.options.v1.policy)" in outcome.output


def test_an_internal_method_with_a_rest_path(copy: Copy) -> None:
    path = '    option (google.api.http) = {get: "/api/v1/ping/{booking_id}"};\n'
    copy.replace(PROTO, ANCHOR, ANCHOR + METHOD % (path + POLICY))
    outcome = copy.check("generated")
    assert not outcome.passed
    assert "berth.booking.v1.BookingService.Ping is internal, yet has a REST path" in outcome.output


def test_a_stale_generated_file(copy: Copy) -> None:
    copy.replace(PROTO, ANCHOR, ANCHOR + METHOD % POLICY)
    outcome = copy.check("generated")
    assert not outcome.passed
    assert "generated/python/berth/booking/v1/booking_service_pb2.py is stale" in outcome.output
    assert "generated/envoy/berth.binpb is stale" in outcome.output


def test_a_generated_file_that_nothing_generates(copy: Copy) -> None:
    copy.write("generated/python/berth/left_pb2.py", '"""Left behind."""\n')
    outcome = copy.check("generated")
    assert not outcome.passed
    assert "generated/python/berth/left_pb2.py is stale" in outcome.output


def test_a_breaking_change(copy: Copy) -> None:
    copy.replace(PROTO, "string user_id = 1 [", "string person_id = 1 [")
    outcome = copy.check("breaking")
    assert not outcome.passed
    assert "person_id" in outcome.output


def test_an_element_without_a_comment(copy: Copy) -> None:
    copy.replace(PROTO, ANCHOR, ANCHOR + (METHOD % POLICY).replace("  // Does something.\n", ""))
    outcome = copy.check("protos")
    assert not outcome.passed
    assert "Ping" in outcome.output


def test_a_service_without_health(copy: Copy) -> None:
    copy.write("services/auth/__main__.py", '"""Serves auth by hand."""\n\nimport grpc\n\ngrpc.aio.server()\n')
    outcome = copy.check("tidy")
    assert not outcome.passed
    assert "services/auth/__main__.py:1: the service is not run by services.chassis.service.run" in outcome.output


def test_a_service_that_no_rule_knows(copy: Copy) -> None:
    copy.write("services/stray/__init__.py", '"""A stray service."""\n')
    outcome = copy.check("tidy")
    assert not outcome.passed
    assert "topology.toml:1: lacks the service stray" in outcome.output
    assert "the import rules lack the service stray" in outcome.output


@pytest.mark.parametrize(
    ("module", "text", "named"),
    [
        ("services/auth/extra.py", '"""A room of its own."""\n', "services.auth.extra"),
        ("services/auth/domain/rude.py", '"""Too near."""\n\nimport grpc\n', "services.auth.domain.rude -> grpc"),
        (
            "services/auth/domain/stub.py",
            '"""Too near."""\n\nfrom berth.auth.v1 import user_pb2\n',
            "services.auth.domain.stub -> berth",
        ),
        (
            "services/auth/usecases/deep.py",
            '"""Too deep."""\n\nfrom services.chassis.db import engine\n',
            "services.auth.usecases.deep -> services.chassis.db",
        ),
        (
            "services/booking/usecases/peek.py",
            '"""Too curious."""\n\nfrom services.auth import domain\n',
            "services.booking.usecases.peek -> services.auth.domain",
        ),
        (
            "services/chassis/nosy.py",
            '"""Too curious."""\n\nfrom services.auth import domain\n',
            "services.chassis.nosy -> services.auth.domain",
        ),
        (
            "services/auth/domain/upward.py",
            '"""The wrong way."""\n\nfrom services.auth import usecases\n',
            "services.auth.domain.upward -> services.auth.usecases",
        ),
    ],
)
def test_a_module_outside_the_import_rules(copy: Copy, module: str, text: str, named: str) -> None:
    copy.write(module, text)
    outcome = copy.check("imports")
    assert not outcome.passed
    assert named in outcome.output


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("services/auth/utils.py", '"""Useful."""\n', "services/auth/utils.py:1: nothing is called utils"),
        ("gateway/helpers/__init__.py", '"""Helpful."""\n', "gateway/helpers/__init__.py:1: nothing is called helpers"),
        ("gateway/silent.py", "x = 1\n", "gateway/silent.py:1: the first line must be a docstring"),
        ("gateway/long.py", '"""Long."""\n' + "x = 1\n" * 400, "gateway/long.py:400: 401 lines are more than 400"),
        (
            "gateway/ignoring.py",
            '"""X."""\n\nx = 1  # type' + ": ignore[misc]\n",
            "gateway/ignoring.py:3: an ignore names",
        ),
        ("gateway/quiet.py", '"""X."""\n\nx = 1  # no' + "qa: F401\n", "gateway/quiet.py:3: an ignore names"),
        ("gateway/later.py", '"""X."""\n\n# TO' + "DO finish\n", "gateway/later.py:3: unfinished work"),
    ],
)
def test_an_untidy_file(copy: Copy, name: str, text: str, said: str) -> None:
    copy.write(name, text)
    outcome = copy.check("tidy")
    assert not outcome.passed
    assert said in outcome.output


def test_an_ignore_with_its_reason_is_tidy(copy: Copy) -> None:
    reasoned = '"""X."""\n\nx = 1  # type: ignore[misc]  # the stub is wrong\ny = 1  # noqa: F401 - read by others\n'
    copy.write("gateway/reasoned.py", reasoned)
    assert "gateway/reasoned.py" not in copy.check("tidy").output


def test_a_target_without_help(copy: Copy) -> None:
    text = (copy.root / "Makefile").read_text(encoding="utf-8")
    copy.write("Makefile", text + "\nsurprise:\n\t@true\n")
    outcome = copy.check("tidy")
    assert not outcome.passed
    assert "the target surprise has no help" in outcome.output


def test_a_lock_without_hashes(copy: Copy) -> None:
    text = (copy.root / "requirements/runtime.lock").read_text(encoding="utf-8")
    copy.write("requirements/runtime.lock", text + "sneaked-in==1.0\n# https://registry.example/simple\n")
    outcome = copy.check("audit")
    assert not outcome.passed
    assert "runtime.lock: sneaked-in==1.0 has no hash" in outcome.output
    assert "runtime.lock: names an address" in outcome.output
