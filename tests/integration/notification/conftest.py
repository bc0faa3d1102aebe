"""Servers and channels with real certificates, for notification's tests over the wire."""

from tests.integration.rpc.serving import certificates, channels, config, dial, serve

__all__ = ["certificates", "channels", "config", "dial", "serve"]
