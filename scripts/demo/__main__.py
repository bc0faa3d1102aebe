"""Owns `make demo`: walks the journey against the running mesh and prints every step, its answer and its time."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from scripts.demo.client import Client, DemoError, Exchange
from scripts.demo.journey import travel

SECRETS = frozenset({"accessToken", "refreshToken", "clientSecret", "password", "otp"})
SHOWN_CHARACTERS_MAX = 900


def main() -> int:
    """Reads the addresses, walks, and answers 0 only when the whole way worked."""
    parser = argparse.ArgumentParser(description="Walk one booking through the running mesh.")
    parser.add_argument("--gateway", required=True, help="URL of the gateway")
    parser.add_argument("--mail", required=True, help="URL of the mail catcher")
    parser.add_argument("--stripe", required=True, help="URL of the payment provider's double")
    parser.add_argument("--stripe-key", required=True, help="the double's publishable key, pk_test_…")
    parser.add_argument("--days-ahead", type=int, default=45, help="when the stay begins")
    arguments = parser.parse_args()
    printer = Printer()
    try:
        addresses = (arguments.gateway, arguments.mail, arguments.stripe)
        with Client(*addresses, printer, stripe_key=arguments.stripe_key) as client:
            outcome = travel(client, days_ahead=arguments.days_ahead)
    except DemoError as error:
        print(f"\nThe journey ended early: {error}", file=sys.stderr)
        return 1
    print(f"\n{printer.steps} steps in {printer.milliseconds / 1000:.1f} s: {outcome.booking_id} was booked, paid,")
    print(f"confirmed, cancelled and refunded ({outcome.refund_amount}); two mails went to {outcome.email}.")
    return 0


class Printer:
    """Prints each exchange, with secrets cut short."""

    def __init__(self) -> None:
        self.steps = 0
        self.milliseconds = 0.0

    def __call__(self, exchange: Exchange) -> None:
        self.steps += 1
        self.milliseconds += exchange.milliseconds
        print(f"\n{self.steps:2}. {exchange.title}  ({exchange.milliseconds:.0f} ms)")
        print(f"    {exchange.method} {exchange.path}")
        if exchange.sent is not None:
            print(f"    → {_brief(exchange.sent)}")
        print(f"    ← {exchange.status} {_brief(exchange.body)}")


def _brief(value: Any) -> str:
    text = json.dumps(_masked(value), ensure_ascii=False)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[:SHOWN_CHARACTERS_MAX] + " …"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "…" if name in SECRETS and inner else _masked(inner) for name, inner in value.items() if inner != ""
        }
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return value


if __name__ == "__main__":
    raise SystemExit(main())
