"""Reflection: lets grpcurl read a server's contracts, for people only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc


def register(names: Iterable[str], server: Any) -> None:
    """Serve the descriptors of these services."""
    servicer = reflection.aio.ReflectionServicer((*names, reflection.SERVICE_NAME))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
