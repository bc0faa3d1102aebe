"""gRPC, both sides: servers with one ordered interceptor list; channels that carry the caller's time and identity."""
