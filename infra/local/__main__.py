"""The command line of the local stack: `python -m infra.local up|down|status|logs|stop|start|restart`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from infra.local import client, control, report, settings, stack, topology
from infra.local.instance import AlreadyRunningError, Instance, named


def main() -> int:
    """Entry; answers the exit code."""
    given = _arguments()
    instance = (
        Instance(Path(given.directory)) if given.directory else named(os.environ.get("BERTH_INSTANCE") or "default")
    )
    try:
        match given.order:
            case "up":
                return _up(instance, fresh=given.fresh)
            case "down":
                say("down" if client.stop(instance) else "nothing is up here")
            case "status":
                say(client.status(instance, given.format))
            case "urls":
                shown = control.ask(instance.control, order="status")
                urls = " ".join(f"--{name} {shown[name]['url']}" for name in ("gateway", "mail", "stripe"))
                say(f"{urls} --stripe-key {shown['stripe']['publishable_key']}")
            case "audit-env":
                ports = control.ask(instance.control, order="status")["ports"]
                attached = stack.attach(instance, topology.read(), os.environ, ports)
                say(json.dumps(attached.audit_environment()))
            case "redrive":
                ports = control.ask(instance.control, order="status")["ports"]
                attached = stack.attach(instance, topology.read(), os.environ, ports)
                line = [sys.executable, "-m", "services.chassis.inbox.redrive"]
                line += ["--bootstrap", attached.kafka, "--topic", given.topic, "--consumer", given.consumer]
                return subprocess.run(line, check=False).returncode
            case "logs":
                with contextlib.suppress(KeyboardInterrupt):
                    client.follow(instance, given.part or None, say)
            case "supervise":
                # Imported here: the other orders need none of what it brings.
                from infra.local.supervisor import supervise

                supervise(instance, settings.read(os.environ, topology.read()), fresh=given.fresh)
            case order:
                control.ask(instance.control, order=order, part=given.part)
    except (
        client.StartError,
        control.NotUpError,
        settings.SettingsError,
        topology.TopologyError,
        AlreadyRunningError,
        RuntimeError,
    ) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _up(instance: Instance, *, fresh: bool) -> int:
    settings.read(os.environ, topology.read())  # refused here, in front of the person who typed it
    supervisor = None
    if instance.is_held() and fresh:
        say("taking down what is up, to start empty")
        client.stop(instance)
    if instance.is_held():
        say("a supervisor is up already")
    else:
        supervisor = client.start(instance, fresh=fresh)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        status = client.wait_until_serving(instance, supervisor, say)
    except KeyboardInterrupt:
        say("interrupted: taking everything down")
        client.stop(instance)
        return 130
    except client.StartError as error:
        print(f"\n{error}", file=sys.stderr)
        if instance.is_held():
            print("The rest is kept up, and this part is tried again; `make down` ends it all.", file=sys.stderr)
        return 1
    say(f"\n{report.table(report.measured(status))}\n{report.first_steps(status)}")
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--directory", help="the stack's folder; .local/$BERTH_INSTANCE (default) without it")
    orders = parser.add_subparsers(dest="order", required=True)
    up = orders.add_parser("up", help="start everything and wait until it serves")
    up.add_argument("--fresh", action="store_true", help="forget all data first")
    orders.add_parser("down", help="stop everything")
    orders.add_parser("status", help="what runs").add_argument("--format", choices=["table", "json"], default="table")
    orders.add_parser("urls", help="the addresses, as arguments of the demo")
    orders.add_parser("audit-env", help="the auditor's environment, as JSON; it carries secrets")
    redrive = orders.add_parser("redrive", help="bring a consumer's dead-lettered events back")
    redrive.add_argument("--topic", required=True)
    redrive.add_argument("--consumer", required=True)
    orders.add_parser("logs", help="follow the logs").add_argument("part", nargs="?")
    orders.add_parser("supervise", help="(internal) the process that stays").add_argument(
        "--fresh", action="store_true"
    )
    for order in ("stop", "start", "restart"):
        orders.add_parser(order, help=f"{order} one part").add_argument("part")
    return parser.parse_args()


def say(text: str) -> None:
    """One line to the person at the screen."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
