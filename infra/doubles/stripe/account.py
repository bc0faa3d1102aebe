"""Owns what every operation works on: the store, the clock, new ids, events and the ledger of the one account."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from infra.doubles.stripe.errors import no_such
from infra.doubles.stripe.faults import Faults
from infra.doubles.stripe.store import Store

API_VERSION = "2026-10-28.endive"

_ID_BYTES = 18  # 24 characters
_LETTERS_ONLY = str.maketrans("-_", "xX")
_NAMES = {"payment_method": "PaymentMethod"}  # the others are called in errors what they are called in JSON


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_urlsafe(_ID_BYTES).translate(_LETTERS_ONLY)}"


@dataclass(slots=True)
class Call:
    """One request, as operations and events need to know it."""

    request_id: str
    values: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    publishable: bool = False


@dataclass
class Account:
    """The account behind the API key."""

    store: Store
    faults: Faults
    clock: Callable[[], float]
    public_url: str
    enabled_events: tuple[str, ...] = ("*",)
    settle_seconds: float = 1.0
    wake: Callable[[], None] = field(default=lambda: None)

    def now(self) -> int:
        return int(self.clock())

    def require(self, kind: str, object_id: str, *, param: str, in_path: bool = False) -> dict[str, Any]:
        found = self.store.get(object_id, kind)
        if found is None:
            raise no_such(_NAMES.get(kind, kind), object_id, param=param, in_path=in_path)
        return found

    def emit(self, event_type: str, item: dict[str, Any], call: Call | None) -> dict[str, Any]:
        """Stores the fact with a snapshot of the object, and queues its webhook as the scripted faults will have it."""
        event_id = new_id("evt")
        event = {
            "id": event_id,
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": {"object": dict(item)},
            "livemode": False,
            "pending_webhooks": 0,
            "request": {
                "id": call.request_id if call else None,
                "idempotency_key": call.idempotency_key if call else None,
            },
            "type": event_type,
        }
        self.store.put(event, parent=item.get("id"))
        if self._enabled(event_type):
            for due_in, manner in self.faults.webhook_plan(event_type):
                self.store.enqueue(event_id, self.clock() + due_in, manner)
            self.wake()
        return event

    def _enabled(self, event_type: str) -> bool:
        return any(
            pattern in ("*", event_type) or (pattern.endswith(".*") and event_type.startswith(pattern[:-1]))
            for pattern in self.enabled_events
        )
