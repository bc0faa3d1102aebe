"""Owns the scripted faults: which of the next calls or webhooks goes wrong, and how."""

from dataclasses import dataclass
from typing import Any

from infra.doubles.stripe.errors import invalid

BEFORE = ("error_500", "conflict_409", "rate_limit_429", "drop")  # nothing has happened
AFTER = ("timeout", "drop_after", "saved_500")  # the operation took effect
CALL_MODES = (*BEFORE, *AFTER, "latency")
WEBHOOK_MODES = ("duplicate", "reorder", "delay", "lose", "forge", "stale")
MAX_COPIES = 1000
MAX_SECONDS = 600.0


@dataclass(slots=True)
class Fault:
    """One scripted fault; `times` counts down to its end."""

    target: str  # "calls" or "webhooks"
    mode: str
    match: str = "*"  # an operation such as `payment_intents.create`, or an event type
    times: int = 1
    skip: int = 0
    seconds: float = 0.0
    copies: int = 1

    @classmethod
    def parse(cls, body: Any) -> "Fault":
        """The fault in a control request, with the limits of each number."""
        if not isinstance(body, dict) or set(body) - set(cls.__slots__):
            raise invalid(f"A fault is an object with {', '.join(cls.__slots__)}.")
        fault = cls(**{"target": "calls", "mode": "", **body})
        modes = {"calls": CALL_MODES, "webhooks": WEBHOOK_MODES}.get(fault.target, ())
        if fault.mode not in modes:
            raise invalid(f"Unknown mode {fault.mode!r} for {fault.target!r}: {', '.join(modes)}.")
        if fault.times < 1 or fault.skip < 0 or not 1 <= fault.copies <= MAX_COPIES:
            raise invalid("times, skip and copies are positive counts.")
        if not 0 <= fault.seconds <= MAX_SECONDS:
            raise invalid(f"seconds lies between 0 and {MAX_SECONDS:g}.")
        return fault

    def shown(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Faults:
    """The faults still to come, in the order they were scripted; the first that matches is used."""

    def __init__(self) -> None:
        self._pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._pending.append(fault)

    def clear(self) -> None:
        self._pending.clear()

    def shown(self) -> list[dict[str, Any]]:
        return [fault.shown() for fault in self._pending]

    def take(self, operation: str) -> Fault | None:
        return self._take("calls", operation)

    def webhook_plan(self, event_type: str) -> list[tuple[float, str]]:
        """When (in seconds from now) and in what manner an event is to be sent; nothing when it is to be lost."""
        fault = self._take("webhooks", event_type)
        if fault is None:
            return [(0.0, "plain")]
        match fault.mode:
            case "lose":
                return []
            case "duplicate":
                return [(0.0, "plain")] * (fault.copies + 1)
            case "delay":
                return [(fault.seconds, "plain")]
            case "reorder":  # comes after what follows it
                return [(fault.seconds or 1.0, "plain")]
            case manner:  # forged or stale copies come first, then the true one
                return [(0.0, manner)] * fault.copies + [(0.0, "plain")]

    def _take(self, target: str, name: str) -> Fault | None:
        for fault in self._pending:
            if fault.target != target or not _matches(fault.match, name):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            fault.times -= 1
            if not fault.times:
                self._pending.remove(fault)
            return fault
        return None


def _matches(pattern: str, name: str) -> bool:
    return pattern in ("*", name) or (pattern.endswith(".*") and name.startswith(pattern[:-1]))
