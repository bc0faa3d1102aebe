"""What the tests of servers and channels share."""

from tests.integration.rpc.serving import certificates, channels, config, dial, serve

__all__ = ["certificates", "channels", "config", "dial", "serve"]
