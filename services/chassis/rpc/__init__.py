"""gRPC, both sides: servers with one ordered interceptor list; channels that carry the caller's time and identity."""

import os

# gRPC's own lines are no JSON and tell of every connection that ages; what matters reaches us as a status.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
