"""The gateway: Envoy's configuration, rendered from the contracts, their policies and the topology."""
