"""Owns the demonstration: a person's whole way through the mesh, printed step by step, by REST alone."""
