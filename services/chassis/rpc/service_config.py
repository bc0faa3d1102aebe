"""What a channel does by itself - balance, watch health, retry, throttle - derived from the target's contract."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Any

from services.chassis.rpc.policy import policy_of

MAX_ATTEMPTS = 3  # the first one included
FIRST_BACKOFF = "0.05s"
MAX_BACKOFF = "0.5s"
BACKOFF_MULTIPLIER = 2
# Each failure takes a token, each success gives a tenth of one back; below half of them nothing is retried. So a
# dependency that is out costs five retries in all, and one that fails now and then at most a tenth more calls.
RETRY_TOKENS = 10
RETRY_TOKEN_RATIO = 0.1

# gRPC counts every answer but OK as a failure, a slot that was taken too. So an endpoint is left alone for a while not
# when it fails often, but when it fails more than its neighbours do; fewer than five do not tell.
_OUTLIERS: dict[str, Any] = {
    "interval": "2s",
    "baseEjectionTime": "5s",
    "maxEjectionTime": "30s",
    "maxEjectionPercent": 34,
    "successRateEjection": {
        "stdevFactor": 1_900,
        "enforcementPercentage": 100,
        "minimumHosts": 5,
        "requestVolume": 20,
    },
    "childPolicy": [{"round_robin": {}}],
}


@cache
def methods_of(service: str) -> tuple[str, ...]:
    """Every method that the contract of a service such as `inventory` has."""
    package = f"berth.{service}.v1"
    try:
        parent = importlib.import_module(package)
    except ModuleNotFoundError:
        return ()
    methods: list[str] = []
    for found in pkgutil.iter_modules(parent.__path__):
        if found.name.endswith("_service_pb2"):
            module = importlib.import_module(f"{package}.{found.name}")
            for contract in module.DESCRIPTOR.services_by_name.values():
                methods += [f"/{contract.full_name}/{method.name}" for method in contract.methods]
    return tuple(sorted(methods))


def service_config(full_methods: Iterable[str]) -> str:
    """The service config as JSON. Deadlines are not in it: they travel with each call."""
    safe = [method for method in full_methods if policy_of(method).retry_is_safe]
    names = [
        {"service": service, "method": name} for service, _, name in (method[1:].rpartition("/") for method in safe)
    ]
    config: dict[str, Any] = {
        "loadBalancingConfig": [{"outlier_detection_experimental": _OUTLIERS}],
        "healthCheckConfig": {"serviceName": ""},
        "retryThrottling": {"maxTokens": RETRY_TOKENS, "tokenRatio": RETRY_TOKEN_RATIO},
    }
    if names:
        config["methodConfig"] = [
            {
                "name": names,
                "retryPolicy": {
                    "maxAttempts": MAX_ATTEMPTS,
                    "initialBackoff": FIRST_BACKOFF,
                    "maxBackoff": MAX_BACKOFF,
                    "backoffMultiplier": BACKOFF_MULTIPLIER,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    return json.dumps(config)
