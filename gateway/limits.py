"""The gateway's limits, each with its unit, in one place."""

from datetime import timedelta
from typing import NamedTuple

REQUEST_BODY_BYTES = 1024 * 1024
REQUEST_HEADERS_KIB = 32
REQUEST_HEADERS_COUNT = 100
CONNECTION_BUFFER_BYTES = 64 * 1024

DOWNSTREAM_CONNECTIONS = 20_000
STREAMS_PER_CONNECTION = 128
CONNECTION_IDLE = timedelta(minutes=5)
REQUEST_ARRIVAL = timedelta(seconds=15)
HEADERS_ARRIVAL = timedelta(seconds=10)

UPSTREAM_CONNECT = timedelta(seconds=5)  # with the handshake, which at the peak waits for a processor
UPSTREAM_CONNECTIONS = 64
UPSTREAM_REQUESTS = 4_096
UPSTREAM_PENDING_REQUESTS = 2_048

# A service ends a call at the contract's deadline and says so. The deadline that the gateway sends for REST callers
# and the time it waits itself lie beyond, so that the service's own answer wins over gRPC's and the gateway's.
DEADLINE_SENT_BEYOND = timedelta(milliseconds=200)
DEADLINE_WAITED_BEYOND = timedelta(milliseconds=500)

# What callers are told to wait after a refusal that will pass.
RETRY_AFTER_SECONDS = 1

# Access tokens are short-lived; services judge them again with their own clock.
TOKEN_CLOCK_SKEW_SECONDS = 5
TOKENS_KNOWN = 1_000  # whose signatures were checked
JWKS_FETCH = timedelta(seconds=2)
# A new key must be published at least this long before it signs.
JWKS_KEPT = timedelta(seconds=30)
JWKS_RETRY = timedelta(seconds=1)


class Rate(NamedTuple):
    """How many calls a second one gateway lets through to one method, and how many at once after a pause."""

    per_second: int
    burst: int


# They protect the mesh as a whole; fairness between callers is the remote rate-limit service's.
RATES = {
    "READ": Rate(per_second=4_000, burst=8_000),
    "WRITE": Rate(per_second=2_000, burst=4_000),
    "CREDENTIAL": Rate(per_second=300, burst=600),
    "PROVIDER": Rate(per_second=500, burst=2_000),
}
