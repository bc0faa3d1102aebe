"""Makes the descriptor set: every contract with what it imports, as Envoy's transcoder and the OpenAPI need it."""

import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from scripts.gen.stubs import own_protos, protoc

# No contract imports it, but every error carries its messages: without it Envoy answers errors with an empty body.
ERROR_DETAILS = "google/rpc/error_details.proto"


def descriptor_set(*, with_comments: bool = False) -> FileDescriptorSet:
    """All contracts and their imports; with the comments where asked for."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "set.binpb"
        comments = ["--include_source_info"] if with_comments else []
        protoc("--include_imports", *comments, f"--descriptor_set_out={output}", *own_protos(), ERROR_DETAILS)
        return FileDescriptorSet.FromString(output.read_bytes())


def write_descriptor_set(into: Path) -> None:
    """Writes the set that Envoy reads, without comments, to `into`/berth.binpb."""
    into.mkdir(parents=True, exist_ok=True)
    (into / "berth.binpb").write_bytes(descriptor_set().SerializeToString(deterministic=True))
