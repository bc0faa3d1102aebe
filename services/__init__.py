"""The services of the mesh, and the chassis that each stands on."""
