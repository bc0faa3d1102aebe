"""The order of the interceptors is a promise."""

from __future__ import annotations

from typing import Any

import pytest

from services.chassis.rpc import chain
from services.chassis.rpc.context import Call
from services.chassis.rpc.method import Method, Middleware, Proceed, Wiring
from services.chassis.rpc.policy import policy_of, reasons_of


def test_the_order() -> None:
    assert [name for name, _ in chain.CHAIN] == [
        "correlation",
        "log",
        "metrics",
        "boundary",
        "deadline",
        "shed",
        "peer",
        "authentication",
        "tenant",
        "authorization",
        "decode",
        "validation",
        "idempotency",
    ]


async def test_calls_pass_in_that_order_and_come_back_in_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []

    def named(name: str, *, needed: bool = True) -> Any:
        async def middleware(call: Call, proceed: Proceed) -> Any:
            passed.append(name)
            try:
                return await proceed(call)
            finally:
                passed.append(f"/{name}")

        def bind(_method: Method, _wiring: Wiring) -> Middleware | None:
            return middleware if needed else None

        return name, bind

    monkeypatch.setattr(chain, "CHAIN", (named("one"), named("left out", needed=False), named("two")))

    async def handler(_call: Call) -> str:
        passed.append("handler")
        return "answer"

    policy = policy_of("/grpc.health.v1.Health/Check")
    wiring: Any = None  # these interceptors need nothing
    way = chain.compose(Method(policy, reasons_of("berth.type.v1")), wiring, handler)
    assert await way(Call("/x/Y", "req")) == "answer"
    assert passed == ["one", "two", "handler", "/two", "/one"]
