"""Reflection: lets grpcurl read a server's contracts, for people only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc


def register(names: Iterable[str], server: Any) -> None:
    """Serve the descriptors of these services."""
    servicer = reflection.aio.ReflectionServicer((*names, reflection.SERVICE_NAME), pool=_Pool(Default()))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)


class _Pool:
    """The process's descriptors. The runtime's own pool finds no file for a method, which people ask for by name."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindFileContainingSymbol(symbol.rpartition(".")[0])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)
