"""What the mesh stands on: the topology, the one-command local stack, and stand-ins for outside vendors."""
